"""Neighborhoods and lattices: the keys of every query, counted by definition."""

import pytest
import torch
from torch.nn import functional as F

from vidtx_mm.layers import NeighborhoodAttention, merge_lattices, split_lattices
from vidtx_mm.layers.sparse import neighborhoods


@pytest.mark.parametrize('length, size', [(1, 1), (2, 1), (5, 3), (6, 3), (7, 4), (14, 7), (3, 9)])
def test_neighborhoods(length, size):
    """Every place is a query once, and its keys are the nearest window of the wanted size that fits."""
    queries = []
    for query, keys in neighborhoods(length, size):
        places = range(length)[keys]
        assert len(places) == min(size, length)
        for place in range(length)[query]:
            centered = range(place - (len(places) - 1) // 2, place + len(places) // 2 + 1)
            fits = centered[0] >= 0 and centered[-1] < length
            assert list(places) == list(centered) if fits else places[0] == 0 or places[-1] == length - 1
        queries += range(length)[query]
    assert queries == list(range(length))


def test_neighborhood_attention_is_masked_attention():
    torch.manual_seed(0)
    layer = NeighborhoodAttention(8, 2).double()
    x = torch.randn(2, 3, 5, 4, 8, dtype=torch.float64)
    places = [(h, w) for _ in range(3) for h in range(5) for w in range(4)]
    windows = [{q: k for qs, k in neighborhoods(n, s) for q in range(n)[qs]} for n, s in ((5, 3), (4, 2))]
    mask = torch.tensor(
        [[h in range(5)[windows[0][i]] and w in range(4)[windows[1][j]] for h, w in places] for i, j in places]
    )
    q, k, v = layer.split_heads(x.flatten(1, 3))
    expected = layer.join_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    torch.testing.assert_close(layer(x).flatten(1, 3), expected)


@pytest.mark.parametrize('grid', [(4, 4, 4), (3, 5, 2), (1, 1, 1), (1, 2, 7)])
@pytest.mark.parametrize('stride', [1, 2, 3])
def test_lattices(grid, stride):
    x = torch.randn(2, *grid, 3)
    lattices = split_lattices(x, stride)
    assert len(lattices) == torch.tensor(grid).clamp(max=stride).prod()
    assert torch.equal(merge_lattices(lattices, x.shape, stride), x)


def test_lattices_hold_tokens_at_multiples_of_the_stride():
    where = torch.stack(torch.meshgrid(*[torch.arange(n) for n in (3, 5, 4)], indexing='ij'), -1)[None]
    for lattice in split_lattices(where, 2):
        offsets = lattice.flatten(1, 3)[0][:, None] - lattice.flatten(1, 3)[0]
        assert (offsets % 2 == 0).all()
