"""Sparse space-time attention: sliding neighborhoods and strided lattices of the (B, T, H, W, C) token grid."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import QkvProjection


def neighborhoods(length: int, size: int) -> list[tuple[slice, slice]]:
    """Return (queries, keys) along one axis: the ``size`` places around each query, moved inside at the ends.

    Queries with the same keys form one entry. An even ``size`` has one place more after the query than before it.
    """
    size = min(size, length)
    starts = [min(max(place - (size - 1) // 2, 0), length - size) for place in range(length)]
    entries = []
    for start in range(length - size + 1):
        first = starts.index(start)
        entries.append((slice(first, first + starts.count(start)), slice(start, start + size)))
    return entries


class NeighborhoodAttention(QkvProjection):
    """Attention to the half-height by half-width neighborhood around each token, in all frames.

    (B, T, H, W, C) -> the same. Odd sizes are halved upwards. Tokens with the same neighborhood are computed together,
    so nothing is masked and nothing outside the neighborhood is computed.
    """

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:4]
        qkv = self.qkv(x).unflatten(-1, (3, self.num_heads, -1))  # (B, T, H, W, 3, heads, D)
        q, k, v = qkv.movedim(-2, 1).unbind(-2)  # (B, heads, T, H, W, D)
        rows = []
        for row_queries, row_keys in neighborhoods(height, (height + 1) // 2):
            columns = []
            for column_queries, column_keys in neighborhoods(width, (width + 1) // 2):
                queries = q[:, :, :, row_queries, column_queries]  # (B, heads, T, h, w, D)
                keys, values = (y[:, :, :, row_keys, column_keys].flatten(2, 4) for y in (k, v))
                attended = F.scaled_dot_product_attention(queries.flatten(2, 4), keys, values)
                columns.append(attended.view(queries.shape))
            rows.append(torch.cat(columns, 4))
        return self.proj(torch.cat(rows, 3).movedim(1, -2).flatten(-2))  # (B, T, H, W, C)


def _places(shape: Sequence[int], stride: int) -> list[tuple[slice, ...]]:
    """Return the index of each lattice in a (B, T, H, W, C) tensor of ``shape``."""
    starts = product(*(range(min(stride, size)) for size in shape[1:4]))
    return [(slice(None), *(slice(start, None, stride) for start in lattice)) for lattice in starts]


def split_lattices(x: Tensor, stride: int) -> list[Tensor]:
    """Split (B, T, H, W, C) into grids of tokens that are multiples of ``stride`` apart along all three axes."""
    return [x[place] for place in _places(x.shape, stride)]


def merge_lattices(lattices: Sequence[Tensor], shape: Sequence[int], stride: int) -> Tensor:
    """Undo :func:`split_lattices`; ``shape`` is that of the whole grid."""
    if len(lattices) == 1:
        return lattices[0]
    x = lattices[0].new_empty(shape)
    for place, lattice in zip(_places(shape, stride), lattices, strict=True):
        x[place] = lattice
    return x
