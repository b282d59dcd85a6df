"""Sparse space-time attention: sliding neighborhoods and strided lattices of the (B, T, H, W, C) token grid."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from .attention import Attention


def neighborhoods(length: int, size: int) -> list[tuple[slice, slice]]:
    """(queries, keys) along one axis: the ``size`` places around each query, moved inside the axis at its ends.

    Queries that see the same keys form one entry. An even ``size`` has one place more after the query than before it.
    """
    size = min(size, length)
    starts = [min(max(place - (size - 1) // 2, 0), length - size) for place in range(length)]
    entries = []
    for start in range(length - size + 1):
        first = starts.index(start)
        entries.append((slice(first, first + starts.count(start)), slice(start, start + size)))
    return entries


class NeighborhoodAttention(Attention):
    """Each token attends to the half-height by half-width neighborhood around its place, in all frames.

    (B, T, H, W, C) -> the same. Odd sizes are halved upwards. Tokens with a common neighborhood are computed together,
    so nothing is masked and no more than the neighborhood is computed.
    """

    def attend(self, x: Tensor) -> Tensor:
        batch, frames, height, width, dim = x.shape
        q, k, v = self.qkv(x).unflatten(-1, (3, self.num_heads, -1)).movedim(-2, 1).unbind(-2)
        rows = []
        for row_queries, row_keys in neighborhoods(height, (height + 1) // 2):
            pieces = []
            for column_queries, column_keys in neighborhoods(width, (width + 1) // 2):
                piece = q[:, :, :, row_queries, column_queries]
                keys, values = (y[:, :, :, row_keys, column_keys].flatten(2, 4) for y in (k, v))
                attended = F.scaled_dot_product_attention(piece.flatten(2, 4), keys, values)
                pieces.append(attended.view(piece.shape))
            rows.append(torch.cat(pieces, 4))
        return torch.cat(rows, 3).movedim(1, -2).reshape(batch, frames, height, width, dim)


def _places(shape: Sequence[int], stride: int) -> list[tuple[slice, ...]]:
    """The index of each lattice in a (B, T, H, W, C) tensor of ``shape``."""
    starts = product(*(range(min(stride, size)) for size in shape[1:4]))
    return [(slice(None), *(slice(start, None, stride) for start in lattice)) for lattice in starts]


def split_lattices(x: Tensor, stride: int) -> list[Tensor]:
    """Cut (B, T, H, W, C) into smaller grids of tokens that are multiples of ``stride`` apart along all three axes."""
    return [x[place] for place in _places(x.shape, stride)]


def merge_lattices(lattices: Sequence[Tensor], shape: Sequence[int], stride: int) -> Tensor:
    """Undo :func:`split_lattices`; ``shape`` is that of the whole grid."""
    if len(lattices) == 1:
        return lattices[0]
    x = lattices[0].new_empty(shape)
    for place, lattice in zip(_places(shape, stride), lattices, strict=True):
        x[place] = lattice
    return x
