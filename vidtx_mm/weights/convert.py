"""A checkpoint under our keys without a model at hand: what ``tools/convert.py SRC DST`` does."""

import re

from torch import Tensor

from .errors import CheckpointError
from .formats import Opened
from .labels import in_order
from .load import PREFIX, split
from .options import Options
from .report import LoadReport
from .sources import FAMILIES, SOURCES, canonical, detect


def rename(opened: Opened, source: str = 'auto', class_order: str = 'auto') -> tuple[dict[str, Tensor], LoadReport]:
    """The state dict of a video model, with the file's shapes and classes, and the report.

    Raises:
        CheckpointError: if the source is unknown, or an image model: what becomes of it depends on the video model.
    """
    Options(source=source, class_order=class_order)
    try:
        found = detect(opened.tensors) if source == 'auto' else SOURCES[source]
        if found.ndim == 2:
            raise CheckpointError(f'an image model ({found.title}): give the config of the video model to make of it')
        file = canonical(opened.tensors, found)
    except CheckpointError as error:
        raise CheckpointError(f'{opened.name}: {error}') from error
    report = LoadReport(opened.name, opened.container, found.title, 'a checkpoint of vidtx_mm')
    derived = [pattern for name in found.families for pattern in FAMILIES[name].derived]
    head, remark = in_order(split(file.tensors)[1], found, class_order)
    report.notes += [remark] if remark else []
    report.notes.append("a model's channel order, mean and std were not compared: that takes its config")
    state_dict = {}
    for key, tensor in {**file.tensors, **head}.items():
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
