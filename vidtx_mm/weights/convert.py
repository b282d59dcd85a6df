"""Convert a checkpoint to our keys without a model, as ``vidtx convert SRC DST`` does."""

import re

from torch import Tensor

from .errors import CheckpointError
from .formats import Opened
from .labels import in_order
from .load import Options
from .report import LoadReport
from .sources import FAMILIES, PREFIX, SOURCES, canonical, detect


def rename(opened: Opened, source: str = 'auto', class_order: str = 'auto') -> tuple[dict[str, Tensor], LoadReport]:
    """Return the state dict of a video model, with the file's shapes and classes, and the report.

    Raises:
        CheckpointError: if the source is unknown, or an image model, which takes a video model to inflate it for.
    """
    Options(source=source, class_order=class_order)
    try:
        found = detect(opened.tensors) if source == 'auto' else SOURCES[source]
        if found.ndim == 2:
            raise CheckpointError(
                f'an image model ({found.title}): give the config of the video model to inflate it for'
            )
        file = canonical(opened.tensors, found)
        head, order_note = in_order(file.head, found, class_order)
    except CheckpointError as error:
        raise CheckpointError(f'{opened.name}: {error}') from error
    report = LoadReport(opened.name, opened.container, found.title, 'a checkpoint of vidtx_mm')
    report.notes += [order_note] if order_note else []
    report.notes.append('channel order, mean and std were not compared with a model: that takes its config')
    derived = [pattern for name in found.families for pattern in FAMILIES[name].derived]
    state_dict = {}
    for prefix, weights in ((PREFIX, file.backbone), ('', head)):
        for key, weight in weights.items():
            if any(re.fullmatch(pattern, key) for pattern in derived):
                report.add(weight.origin, 'dropped', 'computed by the model')
            else:
                state_dict[prefix + key] = weight.tensor
                report.add(prefix + key, *weight.action(key))
    for key, reason in file.dropped.items():
        report.add(key, 'dropped', reason)
    report.parameters = sum(tensor.numel() for tensor in state_dict.values())
    return state_dict, report
