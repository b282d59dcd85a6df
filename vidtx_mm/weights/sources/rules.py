"""Rules that more than one family uses."""

import torch
from torch import Tensor

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
