"""Partitions of the (B, T, H, W, C) token grid into groups that attend within themselves.

Every partition has ``split(x) -> (tokens, layout)`` with tokens (groups, N, C), and ``merge(tokens, layout) -> x``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn

from .tokenizer import pad_to_multiple

Grid = tuple[int, int, int]
LAST_FLAGS = tuple(product((False, True), repeat=3))


@dataclass(frozen=True)
class Axes:
    """Tokens that share the axes outside the brackets of ``tokens`` form a group, e.g. '(b h w) t c' for time."""

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


class WindowLayout(NamedTuple):
    """How a grid was cut into windows.

    ``parts`` lists, per axis, runs of windows as (number of windows, whether they are the last of a shifted axis, where
    the two ends of the grid meet in one window). Their product are the slabs, in the order of the tokens.
    """

    shape: torch.Size  # of the grid before padding
    size: Grid
    shift: Grid
    parts: tuple[tuple[tuple[int, bool], ...], ...]

    def slabs(self) -> list[tuple[int, tuple[bool, bool, bool]]]:
        """(number of windows, last-flag per axis) of each slab."""
        batch = self.shape[0]
        return [
            (batch * t * h * w, (last_t, last_h, last_w))
            for (t, last_t), (h, last_h), (w, last_w) in product(*self.parts)
        ]


class Window(nn.Module):
    """Windows of ``size`` (t, h, w) tokens, cyclically shifted by ``shift`` (Swin, arXiv 2106.13230 section 3.3).

    The grid is zero-padded at its end; padded tokens are not masked (as published). On an axis that one window covers,
    the window is clipped to the grid and the shift dropped. Windows come out slab by slab, so that an attention needs
    one mask per slab, none for the first, and at most eight in all.
    """

    crossing: Tensor | None

    def __init__(self, size: Sequence[int], shift: Sequence[int] = (0, 0, 0)) -> None:
        super().__init__()
        self.size: Grid = (size[0], size[1], size[2])
        self.shift: Grid = (shift[0], shift[1], shift[2])
        if not all(0 <= s < w for s, w in zip(self.shift, self.size, strict=True)):
            raise ValueError(f'shift {self.shift} must lie within the window {self.size}')
        self.register_buffer('crossing', self._crossing() if any(self.shift) else None, persistent=False)

    def _crossing(self) -> Tensor:
        """(8, N, N) bool, a row per combination of last-flags: the pairs whose tokens come from different ends."""
        sides = [torch.arange(w) >= w - s for w, s in zip(self.size, self.shift, strict=True)]
        axes = torch.stack(torch.meshgrid(*sides, indexing='ij')).flatten(1)
        differ = axes[:, :, None] != axes[:, None, :]
        return torch.stack([(differ & torch.tensor(last)[:, None, None]).any(0) for last in LAST_FLAGS])

    def mask(self, size: Grid, last: tuple[bool, bool, bool]) -> Tensor | None:
        """(N, N) bool: the pairs in a slab's windows that must not attend to each other; None if there are none."""
        if self.crossing is None or not any(last):
            return None
        row = self.crossing[LAST_FLAGS.index(last)]
        if size == self.size:
            return row
        t, h, w = size
        return row.view(*self.size, *self.size)[:t, :h, :w, :t, :h, :w].reshape(t * h * w, t * h * w)

    def split(self, x: Tensor) -> tuple[Tensor, WindowLayout]:
        layout = self._layout(x.shape)
        x = pad_to_multiple(x, layout.size, first_axis=1)
        if any(layout.shift):
            x = x.roll([-s for s in layout.shift], (1, 2, 3))
        slabs = [x]
        for axis, (runs, side) in enumerate(zip(layout.parts, layout.size, strict=True), 1):
            slabs = [piece for slab in slabs for piece in slab.split([count * side for count, _ in runs], axis)]
        t, h, w = layout.size
        return _cat(
            [rearrange(s, 'b (m t) (n h) (o w) c -> (b m n o) (t h w) c', t=t, h=h, w=w) for s in slabs]
        ), layout

    def merge(self, tokens: Tensor, layout: WindowLayout) -> Tensor:
        t, h, w = layout.size
        pieces = tokens.split([windows for windows, _ in layout.slabs()])
        grids = [
            rearrange(p, '(b m n o) (t h w) c -> b (m t) (n h) (o w) c', m=m, n=n, o=o, t=t, h=h, w=w)
            for p, ((m, _), (n, _), (o, _)) in zip(pieces, product(*layout.parts), strict=True)
        ]
        for axis, runs in reversed(list(enumerate(layout.parts, 1))):
            grids = [_cat(grids[i : i + len(runs)], axis) for i in range(0, len(grids), len(runs))]
        (x,) = grids
        if any(layout.shift):
            x = x.roll(layout.shift, (1, 2, 3))
        _, frames, height, width, _ = layout.shape
        return x[:, :frames, :height, :width]

    def _layout(self, shape: torch.Size) -> WindowLayout:
        size, shift, parts = [], [], []
        for grid, window, step in zip(shape[1:4], self.size, self.shift, strict=True):
            step = step if grid > window else 0
            window = min(grid, window)
            windows = -(-grid // window)
            size.append(window)
            shift.append(step)
            parts.append(((windows - 1, False), (1, True)) if step else ((windows, False),))
        return WindowLayout(shape, (size[0], size[1], size[2]), (shift[0], shift[1], shift[2]), tuple(parts))


def _cat(pieces: list[Tensor], axis: int = 0) -> Tensor:
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, axis)
