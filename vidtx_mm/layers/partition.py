"""Partitions of the (B, T, H, W, C) token grid into groups that attend within themselves.

Every partition has ``split(x) -> (tokens, layout)``, where tokens are (G, N, C), and ``merge(tokens, layout) -> x``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from .tokenizer import pad_to_multiple

Grid = tuple[int, int, int]
# Whether a window is the last of a shifted axis, where the two ends of the grid meet, for each axis.
LAST_FLAGS = tuple(product((False, True), repeat=3))


@dataclass(frozen=True)
class Axes:
    """Groups along some axes of the grid, e.g. ``tokens='(b h w) t c'`` for the frames at one place."""

    tokens: str

    def split(self, x: Tensor) -> tuple[Tensor, torch.Size]:
        return rearrange(x, f'b t h w c -> {self.tokens}'), x.shape

    def merge(self, tokens: Tensor, layout: torch.Size) -> Tensor:
        batch, frames, height, width = layout[:4]
        return rearrange(tokens, f'{self.tokens} -> b t h w c', b=batch, t=frames, h=height, w=width)


JOINT = Axes('b (t h w) c')
SPACE = Axes('(b t) (h w) c')
TIME = Axes('(b h w) t c')
HEIGHT = Axes('(b t w) h c')
WIDTH = Axes('(b t h) w c')


class WindowGroup(NamedTuple):
    """Consecutive windows that share an attention mask.

    ``mask`` is (N, N), True where two tokens must not attend to each other; None masks nothing.
    """

    windows: int
    mask: Tensor | None


class WindowLayout(NamedTuple):
    """Layout of a grid that was cut into windows.

    ``runs`` lists, per axis, runs of windows as (number of windows, whether they are the last of a shifted axis). Each
    combination of runs is a window group; ``groups`` has them in the order of the tokens.
    """

    shape: torch.Size  # of the grid before padding
    size: Grid
    shift: Grid
    runs: tuple[tuple[tuple[int, bool], ...], ...]
    groups: tuple[WindowGroup, ...]


class Window(nn.Module):
    """Windows of ``size`` (t, h, w) tokens, cyclically shifted by ``shift`` (Swin, arXiv 2106.13230 section 3.3).

    The end of the grid is zero-padded; padded tokens are not masked (as published). On an axis that one window covers,
    the window is clipped to the grid and the shift dropped. The windows come out in at most eight groups with one
    attention mask each, so that no mask per window is needed; the first group has none.
    """

    masks: Tensor | None

    def __init__(self, size: Sequence[int], shift: Sequence[int] = (0, 0, 0)) -> None:
        super().__init__()
        self.size: Grid = (size[0], size[1], size[2])
        self.shift: Grid = (shift[0], shift[1], shift[2])
        if not all(0 <= s < w for s, w in zip(self.shift, self.size, strict=True)):
            raise ValueError(f'shift={self.shift} must be at least 0 and below the window size {self.size}')
        self.register_buffer('masks', self._build_masks() if any(self.shift) else None, persistent=False)

    def _build_masks(self) -> Tensor:
        """Return (8, N, N) bool, a mask per row of ``LAST_FLAGS``: pairs of tokens from different ends of the grid."""
        sides = [torch.arange(w) >= w - s for w, s in zip(self.size, self.shift, strict=True)]
        axes = torch.stack(torch.meshgrid(*sides, indexing='ij')).flatten(1)  # (3, N)
        differ = axes[:, :, None] != axes[:, None, :]  # (3, N, N)
        return torch.stack([(differ & torch.tensor(last)[:, None, None]).any(0) for last in LAST_FLAGS])

    def _mask(self, size: Grid, last: tuple[bool, ...]) -> Tensor | None:
        """Return the (N, N) mask of windows of ``size``, which may be clipped."""
        if self.masks is None or not any(last):
            return None
        mask = self.masks[LAST_FLAGS.index(last)]
        if size == self.size:
            return mask
        t, h, w = size
        return mask.view(*self.size, *self.size)[:t, :h, :w, :t, :h, :w].reshape(t * h * w, t * h * w)

    def _layout(self, shape: torch.Size) -> WindowLayout:
        size, shift, runs = [], [], []
        for grid, window, step in zip(shape[1:4], self.size, self.shift, strict=True):
            step = step if grid > window else 0
            window = min(grid, window)
            windows = -(-grid // window)
            size.append(window)
            shift.append(step)
            runs.append(((windows - 1, False), (1, True)) if step else ((windows, False),))
        t, h, w = size
        groups = []
        for combination in product(*runs):
            counts, last = zip(*combination, strict=True)
            groups.append(WindowGroup(shape[0] * prod(counts), self._mask((t, h, w), last)))
        return WindowLayout(shape, (t, h, w), (shift[0], shift[1], shift[2]), tuple(runs), tuple(groups))

    def split(self, x: Tensor) -> tuple[Tensor, WindowLayout]:
        layout = self._layout(x.shape)
        x = pad_to_multiple(x, layout.size, first_axis=1)  # (B, T', H', W', C)
        if any(layout.shift):
            x = x.roll([-s for s in layout.shift], (1, 2, 3))
        grids = [x]
        for axis, (runs, side) in enumerate(zip(layout.runs, layout.size, strict=True), 1):
            grids = [run for grid in grids for run in grid.split([count * side for count, _ in runs], axis)]
        t, h, w = layout.size
        pattern = 'b (m t) (n h) (o w) c -> (b m n o) (t h w) c'
        return _cat([rearrange(grid, pattern, t=t, h=h, w=w) for grid in grids]), layout  # (G, N, C)

    def merge(self, tokens: Tensor, layout: WindowLayout) -> Tensor:
        t, h, w = layout.size
        groups = tokens.split([group.windows for group in layout.groups])
        pattern = '(b m n o) (t h w) c -> b (m t) (n h) (o w) c'
        grids = [
            rearrange(group, pattern, m=m, n=n, o=o, t=t, h=h, w=w)
            for group, ((m, _), (n, _), (o, _)) in zip(groups, product(*layout.runs), strict=True)
        ]
        for axis, runs in reversed(list(enumerate(layout.runs, 1))):
            grids = [_cat(grids[i : i + len(runs)], axis) for i in range(0, len(grids), len(runs))]
        (x,) = grids  # (B, T', H', W', C)
        if any(layout.shift):
            x = x.roll(layout.shift, (1, 2, 3))
        _, frames, height, width, _ = layout.shape
        return x[:, :frames, :height, :width]  # (B, T, H, W, C)


def _cat(tensors: list[Tensor], axis: int = 0) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, axis)
