"""Published checkpoint formats, one file per family, and their recognition.

A new family is a module with ``SOURCES`` (its key maps) and ``FAMILY`` (its rules), listed in ``_MODULES``.
"""

from collections.abc import Mapping

from torch import Tensor

from ..errors import CheckpointError, listed
from . import timesformer, uniformer, video_swin, vivit
from .base import OWN, PREFIX, Context, Family, Rename, Source, canonical
from .unsupported import UNSUPPORTED

_MODULES = (video_swin, timesformer, uniformer, vivit)

SOURCES: dict[str, Source] = {source.name: source for module in _MODULES for source in module.SOURCES}
FAMILIES: dict[str, Family] = {module.FAMILY.name: module.FAMILY for module in _MODULES}

__all__ = ['FAMILIES', 'OWN', 'PREFIX', 'SOURCES', 'Context', 'Family', 'Rename', 'Source', 'canonical', 'detect']


def detect(tensors: Mapping[str, Tensor]) -> Source:
    """Return the source of a checkpoint, by its keys and shapes.

    Raises:
        CheckpointError: if none or several match, or the format is unsupported (with the reason).
    """
    found = [source for source in SOURCES.values() if source.recognizes(tensors)]
    if len(found) > 1:
        raise CheckpointError(f'its keys match several sources: set source= ({listed(s.name for s in found)})')
    if found:
        return found[0]
    for other in UNSUPPORTED:
        if other.recognizes(tensors):
            raise CheckpointError(f'this looks like {other.title}, which cannot be loaded: {other.reason}')
    raise CheckpointError(
        f'its keys ({listed(tensors, 4)}) match no known source: if it is one of {listed(SOURCES, 20)} under a prefix '
        'or in part, pass a dict with the plain keys'
    )
