"""Rules and notes that more than one family uses."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...layers.position import TIME_MODES, resize_time_table
from ..errors import CheckpointError
from ..inflate import inflate_kernel
from .base import Canonical, Converted, Job

SSV_CLASSES = 174  # of Something-Something, both versions
# What each axis of a video kernel is, for messages.
_AXES = ('output channels', 'input channels', 'frames', 'rows', 'columns')


def inflate_conv(key: str, tensor: Tensor, shape: torch.Size, job: Job) -> Converted:
    """A convolution of an image model into one that also spans frames."""
    lifted = tensor.unsqueeze(2) if tensor.ndim == len(shape) - 1 else tensor
    wrong = [
        f'{theirs} {axis} in the file, {ours} in the model'
        for axis, theirs, ours in zip(_AXES, lifted.shape, shape, strict=True)
        if theirs != ours and not (lifted is not tensor and axis == _AXES[2])
    ]
    if wrong:
        raise CheckpointError('; '.join(wrong))
    frames = shape[2]
    how = f'{tuple(tensor.shape)} -> {tuple(shape)}, {job.inflate} over {frames} frames'
    return Converted(inflate_kernel(tensor, frames, job.inflate), 'inflated', how)


def resize_frames(table: Tensor, frames: int, job: Job) -> tuple[Tensor, str]:
    """A (1, T, C) table for another number of frames, and by what rule: time knows 'linear' and 'nearest' only."""
    mode = job.pos_interpolation if job.pos_interpolation in TIME_MODES else 'nearest'
    return resize_time_table(table, frames, mode), TIME_MODES[mode]['mode']


def other_statistics(model: Any, published: float) -> str:
    """The mean and std of the model's preprocessor in words, or '' if it has none or all are ``published``."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    values = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
    known = [value.flatten().tolist() for value in values if isinstance(value, Tensor) and not value.is_meta]
    if len(known) < 2 or {*known[0], *known[1]} == {published}:
        return ''
    return f'mean={known[0]}, std={known[1]}'


def bgr_note(file: Canonical, model: Any) -> list[str]:
    """A note on an official file of Something-Something, whose reader (``cv2.imdecode``) gives BGR frames. The number
    of classes tells."""
    head = file.tensors.get('cls_head.fc_cls.weight')
    swapped = getattr(getattr(model, 'data_preprocessor', None), 'to_rgb', False)
    if head is None or len(head) != SSV_CLASSES or swapped:
        return []
    return [
        f'{SSV_CLASSES} classes: the official Something-Something models were trained on BGR frames. Decoders of '
        'MMAction2 give RGB: set data_preprocessor=dict(to_rgb=True, ...), which swaps the channels'
    ]


def square_table_note(cells: int, grid: Sequence[int]) -> list[str]:
    """A note where the position table of a square was taken, unresized, for a ``grid`` of other sides and as many
    cells."""
    (height, width), side = grid, math.isqrt(cells)
    if height == width or cells != height * width or cells != side**2:
        return []
    return [
        f'the position table of {cells} patches was taken as {height} x {width}, but published ones are {side} x '
        f'{side}, so rows are mixed up: set img_size to a square; the model resizes the table to the clip'
    ]
