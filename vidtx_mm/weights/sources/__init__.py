"""The published checkpoint forms, one file per family, and how a file's form is recognized.

A new family is a module with ``SOURCES`` (its key maps) and ``FAMILY`` (its rules), listed in ``_MODULES``.
"""

from collections.abc import Mapping

from torch import Tensor

from ..errors import CheckpointError, listed
from . import timesformer, uniformer, video_swin, vivit
from .base import OWN, Family, Job, Rename, Source, canonical
from .relatives import RELATIVES

_MODULES = (video_swin, timesformer, uniformer, vivit)

SOURCES: dict[str, Source] = {source.name: source for module in _MODULES for source in module.SOURCES}
FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in _MODULES}

__all__ = ['FAMILIES', 'OWN', 'SOURCES', 'Family', 'Job', 'Rename', 'Source', 'canonical', 'detect']


def detect(tensors: Mapping[str, Tensor]) -> Source:
    """The source of a checkpoint, by its keys and shapes.

    Raises:
        CheckpointError: if none or several fit, or the one that fits cannot be loaded (with the reason).
    """
    found = [source for source in SOURCES.values() if source.recognizes(tensors)]
    if len(found) > 1:
        raise CheckpointError(f'its keys fit several sources: say which by source= ({listed(s.name for s in found)})')
    if found:
        return found[0]
    for relative in RELATIVES:
        if relative.recognizes(tensors):
            raise CheckpointError(f'this looks like {relative.title}, which cannot be loaded: {relative.refusal}')
    raise CheckpointError(
        f'its keys ({listed(tensors, 4)}) are of no known source: if it is one of {listed(SOURCES, 20)} under a prefix '
        'or in part, give a dict with the plain keys'
    )
