"""Kernels: the numbers of plain PyTorch, in no more memory than allowed."""

import pytest
import torch
from torch import nn

from vidtx_mm.layers import Attention, Mlp
from vidtx_mm.layers.kernels import chunked, chunks

LAYERS = {
    'mlp': (lambda: Mlp(8, 16), (5, 3, 8)),
    'attention': (lambda: Attention(8, 2), (5, 3, 8)),
}


@pytest.mark.parametrize('limit', [1, 50, 97, 144, 10**6])
@pytest.mark.parametrize('name', LAYERS)
def test_inference_in_chunks_gives_the_same(name: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    build, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, x = build().double(), torch.randn(shape, dtype=torch.float64)
    whole = layer(x).detach()
    monkeypatch.setattr(chunks, 'CHUNK_VALUES', limit)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), whole, rtol=1e-12, atol=1e-12)


def test_no_chunk_makes_more_values_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, 'CHUNK_VALUES', 64)
    sizes: list[int] = []
    linear = nn.Linear(4, 16)

    def layer(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return linear(x)

    with torch.no_grad():
        chunked(layer, torch.zeros(10, 4), 16)
    assert sizes == [4, 4, 2]
    sizes.clear()
    chunked(layer, torch.zeros(10, 4), 16)
    assert sizes == [10]
