"""The light UniFormers: published sizes, and what shrinking the tokens means."""

import pytest
import torch
from torch import nn

from vidtx_mm.backbones import ImageUniFormerLight, VideoUniFormerLight
from vidtx_mm.backbones.uniformer_light import ScoredAttention, ShrinkBlock, State, merge

TINY = dict(depths=(1, 1, 3, 2), embed_dims=(8, 8, 8, 16), head_dim=8, mlp_ratio=2.0)


def tiny(cls: type = VideoUniFormerLight, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    model = cls(**{'arch': TINY, 'drop_path_rate': 0.0, **kwargs}).double().eval()
    for parameter in model.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    return model


@pytest.mark.parametrize(
    'cls, arch, classes, parameters',
    [
        (VideoUniFormerLight, 'xxs', 400, 9_833_896),
        (VideoUniFormerLight, 'xs', 400, 16_099_552),
        (ImageUniFormerLight, 'xxs', 1000, 10_215_280),
        (ImageUniFormerLight, 'xs', 1000, 16_509_264),
    ],
)
def test_parameter_counts(cls, arch, classes, parameters):
    """Both classifiers and the norm of the class token included, as in the published files."""
    kwargs = dict(final_norm=True) if cls is ImageUniFormerLight else {}
    with torch.device('meta'):
        model = cls(arch, class_token=True, **kwargs)
    assert sum(p.numel() for p in model.parameters()) + 2 * (model.out_channels[-1] + 1) * classes == parameters


def test_scored_attention():
    """The output is that of plain attention, the scores are the first row of its softmax, averaged over the heads."""
    torch.manual_seed(0)
    attention, x = ScoredAttention(8, 2).double(), torch.randn(3, 5, 8, dtype=torch.float64)
    out, scores = attention(x)
    q, k, v = attention.split_heads(x)
    weights = (q @ k.transpose(-2, -1) * 4**-0.5).softmax(-1)
    torch.testing.assert_close(out, attention.join_heads(weights @ v))
    torch.testing.assert_close(scores, weights[:, :, 0, 1:].mean(1))


def shrink_one(block: ShrinkBlock, cls: torch.Tensor, x: torch.Tensor, scores: torch.Tensor) -> State:
    """The definition for one sample, token by token: cls (1, C), x (N, C), scores (N,)."""
    x = x + block.pos_embed(x[None, None, None])[0, 0, 0]
    ranking = sorted(range(len(x)), key=lambda i: -float(scores[i]))
    kept, others = ranking[: len(x) // 2], ranking[len(x) // 2 :]
    merged = sum(scores[i] * x[i] for i in others) / sum(scores[i] for i in others)
    tokens = torch.cat([cls, *[x[i][None] for i in kept], merged[None]])[None]
    first, row = block.attn(block.norm1(tokens))
    middle = tokens + first
    second = block.mlp(block.norm2(middle))
    result, out, new = middle + second, x.clone(), scores.clone()
    for place, i in enumerate(kept):
        out[i] = result[0, 1 + place]
        new[i] = (scores[i] + row[0, place]) / 2
    for i in others:
        out[i] = x[i] + first[0, -1] + second[0, -1]
    return State(result[0, :1], out, new)


def test_shrinking():
    """The best half is related, the rest is merged, takes the merged token's gain and keeps its scores; all return to
    their places, each sample by its own ranking."""
    block = tiny().blocks3[1]
    cls, x = torch.randn(3, 1, 8, dtype=torch.float64), torch.randn(3, 1, 1, 7, 8, dtype=torch.float64)
    scores = torch.rand(3, 7, dtype=torch.float64)
    found = block(State(cls, x, scores))
    for i in range(3):
        expected = shrink_one(block, cls[i], x[i, 0, 0], scores[i])
        torch.testing.assert_close(found.cls[i], expected.cls)
        torch.testing.assert_close(found.x[i, 0, 0], expected.x)
        torch.testing.assert_close(found.scores[i], expected.scores)


def test_first_block_makes_the_scores():
    block = tiny().blocks3[0]
    cls, x = torch.randn(2, 1, 8, dtype=torch.float64), torch.randn(2, 2, 2, 2, 8, dtype=torch.float64)
    out = block(State(cls, x))
    assert out.scores.shape == (2, 8) and out.x.shape == x.shape
    _, expected = block.attn(block.norm1(torch.cat([cls, (x + block.pos_embed(x)).flatten(1, -2)], 1)))
    torch.testing.assert_close(out.scores, expected)


def test_samples_do_not_mix():
    model = tiny()
    x = torch.randn(2, 3, 4, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(model(x), torch.cat([model(x[:1]), model(x[1:])]))


def test_merged_token_is_the_weighted_mean():
    tokens = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    torch.testing.assert_close(merge(tokens, torch.tensor([[3.0, 1.0]])), torch.tensor([[[0.75, 0.5]]]))


@pytest.mark.parametrize('odd_size, size', [('floor', (3, 2)), ('pad', (4, 3))])
def test_scores_are_halved_with_the_map(odd_size, size):
    model = tiny(odd_size=odd_size)
    scores = torch.rand(2, 2 * 7 * 5, dtype=torch.float64)
    x = torch.randn(2, 2, 7, 5, 8, dtype=torch.float64)
    halved = model._halve(State(x[:, 0, 0, :1], x, scores))
    assert halved.shape == (2, 2 * size[0] * size[1])
    torch.testing.assert_close(halved.sum(1), scores.sum(1))
    inner = scores.unflatten(1, (2, 7, 5))[:, :, :6, :4].unflatten(3, (2, 2)).unflatten(2, (3, 2)).mean((3, 5))
    ratio = halved.unflatten(1, (2, *size))[:, :, :3, :2] / inner
    torch.testing.assert_close(ratio, ratio[:, :1, :1, :1].expand_as(ratio))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_many_tokens_under_autocast(dtype):
    """More tokens than half precision can count come back to their places: none is lost, none doubled."""
    attn = ScoredAttention(8, 1)
    block = ShrinkBlock(dim=8, ndim=3, attn=attn, keep_ratio=0.5, mlp_ratio=2.0, drop_path=0.0)
    for parameter in (*block.attn.parameters(), *block.mlp.parameters(), *block.pos_embed.parameters()):
        nn.init.zeros_(parameter)
    x = torch.randn(1, 4, 30, 40, 8)
    with torch.autocast('cpu', dtype=dtype):
        out = block(State(torch.zeros(1, 1, 8), x, torch.rand(1, 4800)))
    torch.testing.assert_close(out.x.float(), x)


def test_class_token_is_returned_on_demand():
    features, token = tiny(class_token=True)(torch.randn(2, 3, 4, 32, 32, dtype=torch.float64))
    assert features.shape == (2, 16, 2, 1, 1) and token.shape == (2, 16)
    with pytest.raises(ValueError, match='class_token=True returns the last map'):
        tiny(class_token=True, out_indices=(0, 3))


def test_too_small():
    with pytest.raises(ValueError, match='28 x 64.*at least 29 x 29'):
        tiny()(torch.randn(1, 3, 2, 28, 64, dtype=torch.float64))
    assert tiny()(torch.randn(1, 3, 2, 29, 64, dtype=torch.float64)).shape[-2:] == (1, 2)


@pytest.mark.parametrize('ratio', [0.0, 1.5])
def test_bad_ratio(ratio):
    with pytest.raises(ValueError, match=f'keep_ratio={ratio}'):
        tiny(keep_ratio=ratio)
