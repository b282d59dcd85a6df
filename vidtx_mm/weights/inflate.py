"""Inflate kernels and relative position bias tables from images to video, or resize them to another window."""

import math
from collections.abc import Sequence

from torch import Tensor

from ..checks import choose
from ..layers.position import SPACE_MODES, resize_space_table, resize_time_table

KERNEL_RULES = ('mean', 'center')
RANDOM = 'random'  # of tubelet kernels only: leave them at init
# Of position embeddings only: nearest along the flattened grid, as the official TimeSformer loads image ViTs.
FLAT_NEAREST = 'flat_nearest'
POS_INTERPOLATIONS = (*SPACE_MODES, FLAT_NEAREST)


def inflate_kernel(kernel: Tensor, frames: int, rule: str) -> Tensor:
    """Inflate an (out, in, h, w) kernel to (out, in, frames, h, w).

    'mean' gives every frame 1/frames of the kernel (I3D, arXiv 1705.07750); 'center' gives frame frames // 2 all of it
    and the others zero. Away from temporal padding, both respond to a still clip like the image kernel.
    """
    choose('inflate', rule, KERNEL_RULES)
    if rule == 'mean':
        return kernel.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames
    inflated = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    inflated[:, :, frames // 2] = kernel
    return inflated


def inflate_bias_table(table: Tensor, window: Sequence[int], target: Sequence[int], mode: str = 'bicubic') -> Tensor:
    """Inflate the relative position bias table of a (h, w) window to a (t, h, w) one.

    Args:
        table: ((2h-1)(2w-1), heads).
        window: (h, w) of the table.
        target: (t, h, w) of the result.

    Returns:
        ((2t-1)(2h-1)(2w-1), heads), time slowest: the resized spatial table, repeated for every offset in time
        (Video-Swin-Transformer, swin_transformer.py, inflate_weights).
    """
    return resize_bias_table(table, (1, *window), (1, *target[1:]), mode).repeat(2 * target[0] - 1, 1)


def resize_bias_table(table: Tensor, window: Sequence[int], target: Sequence[int], mode: str = 'bicubic') -> Tensor:
    """Resize a relative position bias table to another (t, h, w) window: by ``mode`` in space, linearly in time."""
    offsets = [2 * size - 1 for size in window]
    wanted = [2 * size - 1 for size in target]
    if math.prod(offsets) != table.shape[0]:
        raise ValueError(f'window {tuple(window)} has {math.prod(offsets)} relative positions, not {table.shape[0]}')
    frames = table.unflatten(0, (offsets[0], -1))  # t, h * w, heads
    frames = resize_space_table(frames, (offsets[1], offsets[2]), (wanted[1], wanted[2]), mode)
    return resize_time_table(frames.flatten(1)[None], wanted[0]).reshape(-1, table.shape[1])
