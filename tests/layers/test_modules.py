"""Attention, tokenizer, patch merging, stochastic depth and position tables against their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from vidtx_mm.layers import (
    Attention,
    DropPath,
    Mlp,
    PatchMerging,
    Tokenizer,
    drop_path_rates,
    resize_space_table,
    resize_time_table,
)
from vidtx_mm.layers.kernels.chunks import CHUNK_VALUES


def test_attention_is_softmax_attention():
    torch.manual_seed(0)
    attention = Attention(12, 3).double()
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    outputs = []
    rows = attention.qkv(x)
    for head in range(3):
        q, k, v = (rows[..., 12 * part + 4 * head : 12 * part + 4 * head + 4] for part in range(3))
        outputs.append((q @ k.transpose(1, 2) / 4**0.5).softmax(-1) @ v)
    expected = attention.proj(torch.cat(outputs, -1))
    torch.testing.assert_close(attention(x), expected)
    torch.testing.assert_close(attention(x[None]), expected[None])  # more leading axes


def test_attention_checks_heads():
    with pytest.raises(ValueError, match='num_heads=5'):
        Attention(12, 5)


@pytest.mark.parametrize('size', [(4, 8, 8), (5, 9, 10)])
@pytest.mark.parametrize('odd_size', ['pad', 'floor'])
def test_tokenizer_is_the_convolution(size, odd_size):
    torch.manual_seed(0)
    tokenizer = Tokenizer(3, 6, (2, 4, 4), odd_size=odd_size).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    ends = [-n % k if odd_size == 'pad' else 0 for n, k in zip(size, (2, 4, 4), strict=True)]
    padded = F.pad(x, (0, ends[2], 0, ends[1], 0, ends[0]))
    torch.testing.assert_close(tokenizer(x), tokenizer.proj(padded).movedim(1, -1))


def test_tokenizer_overlapping_and_2d():
    torch.manual_seed(0)
    stem = Tokenizer(3, 6, (3, 4, 4), stride=(2, 4, 4), padding=(1, 0, 0), norm=nn.LayerNorm(6), odd_size='floor')
    assert stem(torch.randn(1, 3, 5, 9, 8)).shape == (1, 3, 2, 2, 6)
    assert Tokenizer(3, 6, (4, 4))(torch.randn(1, 3, 9, 8)).shape == (1, 3, 2, 6)


def test_tokenizer_rejects_unknown_rule():
    with pytest.raises(ValueError, match="'pad', 'floor'"):
        Tokenizer(3, 6, (4, 4), odd_size='crop')


def test_patch_merging_order():
    """Neighbors come row first, then column: (0,0), (1,0), (0,1), (1,1)."""
    merging = PatchMerging(1)
    merging.norm, merging.reduction = nn.Identity(), nn.Identity()
    grid = torch.tensor([[0.0, 1.0], [10.0, 11.0]])[None, None, ..., None]
    assert merging(grid).flatten().tolist() == [0.0, 10.0, 1.0, 11.0]
    assert merging(torch.ones(1, 2, 3, 5, 1)).shape == (1, 2, 2, 3, 4)


def test_drop_path():
    torch.manual_seed(0)
    drop, x = DropPath(0.25), torch.ones(4000, 2, 3)
    out = drop(x)
    kept = out[:, 0, 0] > 0
    assert torch.equal(out, kept[:, None, None] * torch.full_like(x, 1 / 0.75))
    assert abs(kept.float().mean() - 0.75) < 0.03
    assert drop.eval()(x) is x
    assert drop_path_rates(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3]) and drop_path_rates(0.3, 1) == [0]
    with pytest.raises(ValueError, match=r'\[0, 1\)'):
        DropPath(1.0)


def test_space_table_nearest_doubles_cells():
    table = torch.arange(6.0).reshape(1, 6, 1)
    resized = resize_space_table(table, (2, 3), (4, 6), 'nearest').reshape(4, 6)
    assert torch.equal(resized, table.reshape(2, 3).repeat_interleave(2, 0).repeat_interleave(2, 1))


@pytest.mark.parametrize('mode, time_mode', [('bicubic', 'linear'), ('nearest', 'nearest')])
def test_tables_are_interpolated_at_cell_centers(mode, time_mode):
    tables = torch.randn(2, 12, 5)
    grids = tables.transpose(1, 2).reshape(2, 5, 3, 4)
    expected = F.interpolate(grids, (6, 5), mode=mode).flatten(2).transpose(1, 2)
    torch.testing.assert_close(resize_space_table(tables, (3, 4), (6, 5), mode), expected)
    expected = F.interpolate(tables.transpose(1, 2), 8, mode=time_mode).transpose(1, 2)
    torch.testing.assert_close(resize_time_table(tables, 8, mode), expected)


@pytest.mark.parametrize('mode', ['bicubic', 'nearest'])
def test_tables_keep_constants_and_sizes(mode):
    assert torch.allclose(
        resize_space_table(torch.full((1, 6, 4), 2.0), (2, 3), (5, 4), mode), torch.full((1, 20, 4), 2.0)
    )
    assert torch.allclose(resize_time_table(torch.full((1, 3, 4), 2.0), 7, mode), torch.full((1, 7, 4), 2.0))
    table = torch.randn(1, 6, 4)
    assert resize_space_table(table, (2, 3), (2, 3), mode) is table and resize_time_table(table, 6, mode) is table


def test_table_errors():
    with pytest.raises(ValueError, match='2 x 2'):
        resize_space_table(torch.zeros(1, 6, 1), (2, 2), (4, 4))
    with pytest.raises(ValueError, match="pos_interpolation='area'"):
        resize_time_table(torch.zeros(1, 6, 1), 3, 'area')


def test_mlp_inference_keeps_no_hidden_layer_of_all_tokens():
    """Inference on a CPU computes the hidden layer in chunks of at most ``CHUNK_VALUES``, with the same result."""
    torch.manual_seed(0)
    layer, x = Mlp(8, 2**18), torch.randn(2, 9, 8)
    hidden: list[int] = []
    layer.act.register_forward_hook(lambda module, args, out: hidden.append(out.numel()))
    expected = layer(x)
    assert hidden == [18 * 2**18]
    hidden.clear()
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected)
    assert len(hidden) > 1 and sum(hidden) == 18 * 2**18 and max(hidden) <= CHUNK_VALUES


def test_first_token_of_attention():
    torch.manual_seed(0)
    for qkv_bias in (True, False):
        layer, x = Attention(8, 2, qkv_bias), torch.randn(3, 5, 8)
        torch.testing.assert_close(layer.first(x), layer(x)[:, :1])
