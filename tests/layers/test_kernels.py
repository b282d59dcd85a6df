"""Kernels: the numbers of plain PyTorch, in no more memory than allowed."""

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from vidtx_mm.layers import Attention, Mlp
from vidtx_mm.layers.kernels import biased_attention, chunked, chunks, softmax_attention
from vidtx_mm.layers.kernels.biased_attention import CHUNK_VALUES
from vidtx_mm.layers.kernels.softmax_attention import MAX_GROUPS

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


def attention_inputs(groups: int, heads: int, tokens: int, dim: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(groups, heads, tokens, dim)] * 3 + [(heads, tokens, tokens)]
    return [torch.randn(shape, dtype=dtype, generator=generator).requires_grad_() for shape in shapes]


def window_groups(tokens: int) -> list[tuple[int, torch.Tensor | None]]:
    """Return three windows in two groups, the second with a mask."""
    side = torch.arange(tokens) >= tokens // 2
    return [(2, None), (1, side[:, None] != side)]


def test_gradients_of_biased_attention() -> None:
    inputs = (*attention_inputs(3, 2, 5, 4, torch.float64), window_groups(5))
    assert torch.autograd.gradcheck(biased_attention, inputs)


@pytest.mark.parametrize('tokens', [4, 1100])
def test_biased_attention_is_attention_with_a_mask(tokens: int) -> None:
    """One chunk holds many groups of few tokens, and of many tokens less than one group; the results are the same."""
    assert 4**2 * 3 < CHUNK_VALUES < 1100**2
    inputs = attention_inputs(3, 2, tokens, 8, torch.float64)
    q, k, v, bias = inputs
    groups = window_groups(tokens)
    masks = torch.stack([torch.zeros(tokens, tokens) if mask is None else -100.0 * mask for _, mask in groups])
    masked = bias + masks[[0, 0, 1], None].double()  # (G, heads, N, N)
    results = []
    for out in (biased_attention(q, k, v, bias, groups), scaled_dot_product_attention(q, k, v, attn_mask=masked)):
        results.append((out.detach(), *torch.autograd.grad(out.sin().sum(), inputs)))
    torch.testing.assert_close(*results, rtol=1e-9, atol=1e-9)


def test_biased_attention_saves_no_attention_weights() -> None:
    """What is saved for the backward pass grows with the windows as queries do; the bias is saved once, unmasked."""
    q, k, v, bias = attention_inputs(16, 2, 20, 4, torch.float32)
    saved: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        biased_attention(q, k, v, bias, [(12, None), (4, torch.ones(20, 20, dtype=torch.bool))])
    assert len(saved) == 5 and max(saved) == q.numel() < 16 * bias.numel()


def test_biased_attention_under_autocast() -> None:
    inputs = attention_inputs(2, 2, 9, 8, torch.float32)
    exact = torch.autograd.grad(biased_attention(*inputs, [(2, None)]).sin().sum(), inputs)
    q, k, v, bias = inputs
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = biased_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), bias, [(2, None)])
    assert out.dtype == torch.bfloat16
    for found, expected in zip(torch.autograd.grad(out.float().sin().sum(), inputs), exact, strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


@pytest.mark.parametrize('groups', [5, 6, 13])
def test_groups_are_split_where_the_device_takes_no_more(groups: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flash attention on CUDA has at most 65,535 groups; here a limit of five stands for it."""
    q, k, v, bias = attention_inputs(groups, 2, 4, 8, torch.float64)
    seen: list[int] = []
    plain = scaled_dot_product_attention

    def recorded(*qkv: torch.Tensor, attn_mask: torch.Tensor | None) -> torch.Tensor:
        seen.append(len(qkv[0]))
        return plain(*qkv, attn_mask=attn_mask)

    monkeypatch.setattr(torch.nn.functional, 'scaled_dot_product_attention', recorded)
    whole = softmax_attention(q, k, v)
    monkeypatch.setitem(MAX_GROUPS, 'cpu', 5)
    torch.testing.assert_close(softmax_attention(q, k, v), whole, rtol=0, atol=0)
    torch.testing.assert_close(
        biased_attention(q, k, v, bias, [(groups, None)]), plain(q, k, v, attn_mask=bias[None]), rtol=0, atol=1e-15
    )
    runs = [*[5] * (groups // 5), *[groups % 5] * (groups % 5 > 0)]
    assert MAX_GROUPS['cuda'] == 65535 and seen == [groups, *runs, *runs]
