"""Interpolation of learned position embeddings to another token grid."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ..checks import choose

Modes = dict[str, dict[str, Any]]
SPACE_MODES: Modes = {'bicubic': dict(mode='bicubic', align_corners=False), 'nearest': dict(mode='nearest')}
TIME_MODES: Modes = {'bicubic': dict(mode='linear', align_corners=False), 'nearest': dict(mode='nearest')}


def resize_space_table(table: Tensor, old: tuple[int, int], new: tuple[int, int], mode: str = 'bicubic') -> Tensor:
    """Resize a (N, H*W, C) position embedding, rows in row-major order, from the grid ``old`` to ``new`` (both (H, W)).

    The row of a class token is not part of the grid: cut it off first.
    """
    choose('pos_interpolation', mode, SPACE_MODES)
    if table.shape[1] != old[0] * old[1]:
        raise ValueError(f'position embedding of {table.shape[1]} rows does not fill a grid of {old[0]} x {old[1]}')
    if old == new:
        return table
    grid = table.transpose(1, 2).unflatten(2, old)  # (N, C, H, W)
    return F.interpolate(grid, size=new, **SPACE_MODES[mode]).flatten(2).transpose(1, 2)


def resize_time_table(table: Tensor, frames: int, mode: str = 'bicubic') -> Tensor:
    """Resize a (N, T, C) position embedding to ``frames`` rows; 'bicubic' is linear here, as time has one axis."""
    choose('pos_interpolation', mode, SPACE_MODES)
    if table.shape[1] == frames:
        return table
    return F.interpolate(table.transpose(1, 2), size=frames, **TIME_MODES[mode]).transpose(1, 2)
