"""A checkpoint under our keys without a model at hand: what ``tools/convert.py SRC DST`` does."""

import re

from torch import Tensor

from .errors import CheckpointError
from .formats import Opened
from .load import PREFIX, Options
from .report import LoadReport
from .sources import FAMILIES, SOURCES, canonical, detect


def rename(opened: Opened, source: str = 'auto') -> tuple[dict[str, Tensor], LoadReport]:
    """The state dict of a video model, with the file's shapes and head, and the report.

    Raises:
        CheckpointError: if the source is unknown, or an image model: what becomes of it depends on the video model.
    """
    Options(source=source)
    try:
        found = detect(opened.tensors) if source == 'auto' else SOURCES[source]
        if found.ndim == 2:
            raise CheckpointError(f'an image model ({found.title}): give the config of the video model to make of it')
        file = canonical(opened.tensors, found)
    except CheckpointError as error:
        raise CheckpointError(f'{opened.name}: {error}') from error
    report = LoadReport(opened.name, opened.container, found.title, 'a checkpoint of vidtx_mm')
    derived = [pattern for name in found.families for pattern in FAMILIES[name].derived]
    state_dict = {}
    for key, tensor in file.tensors.items():
        was = file.renamed.get(key, key).removeprefix(PREFIX)
        if any(re.fullmatch(pattern, key) for pattern in derived):
            report.add(key, 'dropped', 'computed by the model')
            continue
        state_dict[key] = tensor
        same = was == key.removeprefix(PREFIX)
        report.add(key, 'copied' if same else 'renamed', '' if same else f'from {was}')
    for key, reason in file.dropped.items():
        report.add(key, 'dropped', reason)
    report.parameters = sum(tensor.numel() for tensor in state_dict.values())
    return state_dict, report
