"""Rules that more than one family uses."""

import torch
from torch import Tensor

from ...layers.position import TIME_MODES, resize_time_table
from ..errors import CheckpointError
from ..inflate import inflate_kernel
from .base import Converted, Job

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
    mode = job.table_resize if job.table_resize in TIME_MODES else 'nearest'
    return resize_time_table(table, frames, mode), TIME_MODES[mode]['mode']
