"""Pure rules on weight tensors: from images to video, and from one grid to another. No input is ever changed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

KERNEL_RULES = ('mean', 'centre')
RANDOM = 'random'  # of tubelet kernels only: not inflated, but as the model drew them
TABLE_RESIZES = ('bicubic', 'nearest')
# Of position tables only: nearest along the rows of the flattened grid, as the official TimeSformer reads image ViTs.
FLAT_NEAREST = 'flat-nearest'


def inflate_kernel(kernel: Tensor, frames: int, rule: str) -> Tensor:
    """(out, in, h, w) to (out, in, frames, h, w).

    'mean' gives every frame 1/frames of the kernel (I3D, arXiv 1705.07750); 'centre' gives frame frames // 2 all of it
    and the others zero. Both answer a still clip, away from temporal padding, like the image kernel.
    """
    if rule not in KERNEL_RULES:
        raise ValueError(f'inflate={rule!r}: choose one of {", ".join(map(repr, KERNEL_RULES))}')
    if rule == 'mean':
        return kernel.unsqueeze(2).repeat(1, 1, frames, 1, 1) / frames
    inflated = kernel.new_zeros(*kernel.shape[:2], frames, *kernel.shape[2:])
    inflated[:, :, frames // 2] = kernel
    return inflated


def resize_grid(grid: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """(..., channels, h, w) to (..., channels, *size), sampled at cell centres."""
    if mode not in TABLE_RESIZES:
        raise ValueError(f'table_resize={mode!r}: choose one of {", ".join(map(repr, TABLE_RESIZES))}')
    if grid.shape[-2:] == torch.Size(size):
        return grid
    batch = grid.reshape(-1, *grid.shape[-3:])
    resized = F.interpolate(_full(batch), size, mode=mode)
    return resized.reshape(*grid.shape[:-2], *size)


def resize_line(line: Tensor, length: int, mode: str) -> Tensor:
    """(batch, channels, n) to (batch, channels, length), 'linear' or 'nearest', sampled at cell centres."""
    return line if line.shape[-1] == length else F.interpolate(_full(line), length, mode=mode)


def inflate_bias_table(table: Tensor, window: Sequence[int], target: Sequence[int], mode: str = 'bicubic') -> Tensor:
    """The relative position biases of a (h, w) window, for a (t, h, w) one.

    Args:
        table: ((2h-1)(2w-1), heads).
        window: (h, w) of the table.
        target: (t, h, w) wanted.

    Returns:
        ((2t-1)(2h-1)(2w-1), heads), time slowest: the spatial table, resized, repeated for every offset in time
        (Video-Swin-Transformer, swin_transformer.py, inflate_weights).
    """
    return resize_bias_table(table, (1, *window), (1, *target[1:]), mode).repeat(2 * target[0] - 1, 1)


def resize_bias_table(table: Tensor, window: Sequence[int], target: Sequence[int], mode: str = 'bicubic') -> Tensor:
    """The relative position biases of one (t, h, w) window, for another: by ``mode`` in space, linear in time."""
    offsets = [2 * size - 1 for size in window]
    wanted = [2 * size - 1 for size in target]
    if math.prod(offsets) != table.shape[0]:
        raise ValueError(f'window {tuple(window)} has {math.prod(offsets)} relative positions, not {table.shape[0]}')
    grid = table.t().reshape(-1, *offsets)  # heads, t, h, w
    grid = resize_grid(grid.transpose(0, 1), (wanted[1], wanted[2]), mode)  # t, heads, h, w
    line = resize_line(grid.flatten(1).t()[None], wanted[0], 'linear')  # 1, heads * h * w, t
    return line[0].t().reshape(wanted[0], -1, *wanted[1:]).transpose(0, 1).flatten(1).t().contiguous()


def resize_space_table(
    table: Tensor, grid: tuple[int, int], target: tuple[int, int], prefix: int = 1, mode: str = 'bicubic'
) -> Tensor:
    """A position table (1, prefix + h * w, dim) for another grid; the first ``prefix`` rows (class tokens) stay."""
    if table.shape[1] != prefix + grid[0] * grid[1]:
        raise ValueError(f'a table {tuple(table.shape)} is not one of a {grid} grid and {prefix} class tokens')
    kept, cells = table[:, :prefix], table[:, prefix:]
    cells = resize_grid(cells.transpose(1, 2).unflatten(2, grid), target, mode)
    return torch.cat([kept.to(cells.dtype), cells.flatten(2).transpose(1, 2)], 1)


def resize_time_table(table: Tensor, length: int, prefix: int = 0, mode: str = 'linear') -> Tensor:
    """A time table (1, prefix + t, dim) for another number of frames; the first ``prefix`` rows stay."""
    kept, frames = table[:, :prefix], table[:, prefix:]
    frames = resize_line(frames.transpose(1, 2), length, mode).transpose(1, 2)
    return torch.cat([kept.to(frames.dtype), frames], 1)


def _full(x: Tensor) -> Tensor:
    """Half precision is widened: interpolation of it is inexact and not everywhere implemented."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
