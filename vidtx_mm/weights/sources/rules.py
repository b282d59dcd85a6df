"""Rules and notes that several families use."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ...layers.position import TIME_MODES, resize_time_table
from ..errors import CheckpointError
from ..inflate import inflate_kernel
from .base import Canonical, Context, Converted

SSV_CLASSES = 174  # of Something-Something, both versions
_AXES = ('output channels', 'input channels', 'frames', 'rows', 'columns')  # of a video kernel


def inflate_conv(key: str, tensor: Tensor, shape: torch.Size, context: Context) -> Converted:
    """Inflate the kernel of an image model over frames."""
    lifted = tensor.unsqueeze(2) if tensor.ndim == len(shape) - 1 else tensor
    wrong = [
        f'{theirs} {axis} in the file, {ours} in the model'
        for axis, theirs, ours in zip(_AXES, lifted.shape, shape, strict=True)
        if theirs != ours and not (lifted is not tensor and axis == _AXES[2])
    ]
    if wrong:
        raise CheckpointError('; '.join(wrong))
    frames = shape[2]
    detail = f'{tuple(tensor.shape)} -> {tuple(shape)}, {context.inflate} over {frames} frames'
    return Converted(inflate_kernel(tensor, frames, context.inflate), 'inflated', detail)


def check_channels(embedding: Tensor, shape: torch.Size) -> None:
    """Check that a (1, N, C) position embedding differs from the model's in N alone.

    Raises:
        CheckpointError: otherwise.
    """
    if embedding.shape[::2] != shape[::2]:
        raise CheckpointError(f'{embedding.shape[-1]} channels in the file, {shape[-1]} in the model (arch)')


def resize_frames(embedding: Tensor, frames: int, context: Context) -> tuple[Tensor, str]:
    """Resize a (1, T, C) embedding to ``frames``, and return it with the mode, 'linear' or 'nearest'."""
    mode = context.pos_interpolation if context.pos_interpolation in TIME_MODES else 'nearest'
    return resize_time_table(embedding, frames, mode), TIME_MODES[mode]['mode']


def other_statistics(model: Any, published: float) -> str:
    """Return mean and std of the model's preprocessor in words, or '' if it has none or all equal ``published``."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    values = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
    known = [value.flatten().tolist() for value in values if isinstance(value, Tensor) and not value.is_meta]
    if len(known) < 2 or {*known[0], *known[1]} == {published}:
        return ''
    return f'mean={known[0]}, std={known[1]}'


def bgr_note(file: Canonical, model: Any) -> list[str]:
    """Return a note on an official Something-Something file, recognized by its number of classes.

    The official reader (``cv2.imdecode``) returns BGR frames.
    """
    head = file.head.get('cls_head.fc_cls.weight')
    swapped = getattr(getattr(model, 'data_preprocessor', None), 'to_rgb', False)
    if head is None or head.tensor.shape[0] != SSV_CLASSES or swapped:
        return []
    return [
        f'{SSV_CLASSES} classes: the official Something-Something models were trained on BGR frames. Decoders of '
        'MMAction2 return RGB: set data_preprocessor=dict(to_rgb=True, ...), which swaps the channels'
    ]


def square_grid_note(patches: int, grid: Sequence[int]) -> list[str]:
    """Return a note where the position embedding of a square was taken for another ``grid`` of as many patches."""
    (height, width), side = grid, math.isqrt(patches)
    if height == width or patches != height * width or patches != side**2:
        return []
    return [
        f'the position embedding of {patches} patches was loaded as {height} x {width}, but published ones are {side} '
        f'x {side}, so rows are mixed up: set img_size to a square; the model resizes the embedding to the clip'
    ]
