"""ViViT: published sizes, the four models by definition, tokens, tables, what the input must be."""

import warnings

import pytest
import torch
from helpers import randomized
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidtx_mm.backbones import ViViT
from vidtx_mm.backbones.vivit_blocks import EncoderBlock, SelfAttentionBlock, SplitAttention
from vidtx_mm.backbones.vivit_input import uniform_frames
from vidtx_mm.benchmark.complexity import count
from vidtx_mm.layers import Attention, DropPath

SMALL = dict(
    arch=dict(embed_dims=16, depth=2, num_heads=4),
    tubelet_size=(2, 4, 4),
    num_frames=8,
    img_size=16,
)
ENCODER = dict(attention='factorized_encoder')
SELF = dict(attention='factorized_self_attention', pool='avg')
DOT = dict(attention='factorized_dot_product', pool='avg')
MODELS = {'joint': dict(), 'encoder': ENCODER, 'self': SELF, 'dot': DOT}


def build(**kwargs) -> ViViT:
    torch.manual_seed(0)
    return randomized(ViViT(**{**SMALL, **kwargs}))


@pytest.mark.parametrize(
    'kwargs, classes, parameters',
    [
        (dict(), 400, 88_954_000),
        (dict(tubelet_size=(4, 16, 16)), 400, 88_929_424),
        (dict(tubelet_size=(8, 16, 16)), 400, 90_686_608),
        (dict(ENCODER, temporal_depth=4), 400, 115_062_928),
        (dict(ENCODER, temporal_depth=12), 400, 171_765_904),
        (dict(ENCODER, temporal_depth=0), 400, 86_696_080),
        (SELF, 400, 117_319_312),
        (DOT, 400, 88_952_464),
        (dict(arch='large'), 400, 307_508_624),
        (dict(arch='large', img_size=320), 400, 310_850_960),
        (dict(ENCODER, arch='large', temporal_depth=4), 400, 354_903_440),
        (dict(ENCODER, arch='large', temporal_depth=24), 400, 606_827_920),
        (dict(ENCODER, arch='large', temporal_depth=4, img_size=256), 174, 354_733_230),
    ],
    ids=str,
)
def test_parameter_counts(kwargs, classes, parameters):
    with torch.device('meta'):
        model = ViViT(**kwargs)
    assert sum(p.numel() for p in model.parameters()) + (model.out_channels[0] + 1) * classes == parameters


@pytest.mark.parametrize(
    'kwargs, gigas', [(dict(), 455.2), (dict(arch='large'), 1446), (SELF, 372.3), (DOT, 277.1)], ids=str
)
def test_multiply_adds(kwargs, gigas):
    """Table 2 of the paper and its comparison with the state of the art; maps need the whole of the last block."""
    with torch.device('meta'):
        model = ViViT(**kwargs | dict(pool='none'))
    assert count(model, (1, 3, 32, 224, 224)).macs / 1e9 == pytest.approx(gigas, rel=0.01)


def test_the_factorized_encoder_computes_less_than_published():
    """284.4 G in the paper; of the last block the class tokens alone are needed, which saves a part."""
    with torch.device('meta'):
        model, mean = ViViT(**ENCODER), ViViT(**ENCODER, pool='avg')
    assert count(mean, (1, 3, 32, 224, 224)).macs / 1e9 == pytest.approx(284.4, rel=0.01)
    assert count(model, (1, 3, 32, 224, 224)).macs < 0.95 * count(mean, (1, 3, 32, 224, 224)).macs


def changed_by(function, tokens: torch.Tensor, place: tuple[int, int]) -> set[tuple[int, ...]]:
    """The places (t, n) of (1, T, N, C) tokens whose result changes when the token at ``place`` does."""
    other = tokens.clone()
    other[(0, *place)] *= -1
    return {tuple(p) for p in (function(other) != function(tokens))[0].any(-1).nonzero().tolist()}


def self_attention_block(order: str) -> SelfAttentionBlock:
    return randomized(SelfAttentionBlock(16, Attention(16, 4), Attention(16, 4), 4.0, DropPath(), order)).double()


FRAMES, PLACES = 3, 5
EVERYWHERE = {(t, n) for t in range(FRAMES) for n in range(PLACES)}


def frame_of(place: tuple[int, int]) -> set[tuple[int, int]]:
    return {(place[0], n) for n in range(PLACES)}


def time_of(place: tuple[int, int]) -> set[tuple[int, int]]:
    return {(t, place[1]) for t in range(FRAMES)}


@pytest.mark.parametrize('place', [(0, 0), (1, 3), (2, 4)])
def test_receptive_fields(place):
    """A group is a frame; model 3 sees time and space in turn; model 4's heads see either, so a block sees a cross."""
    tokens = torch.randn(1, FRAMES, PLACES, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    frame = randomized(EncoderBlock(16, Attention(16, 4), 4.0, DropPath())).double()
    assert changed_by(frame, tokens, place) == frame_of(place)
    split = randomized(EncoderBlock(16, SplitAttention(16, 4), 4.0, DropPath())).double()
    assert changed_by(split, tokens, place) == frame_of(place) | time_of(place)
    for order in ('space_first', 'time_first'):
        both = self_attention_block(order)
        assert changed_by(both.attend, tokens, place) == frame_of(place)
        assert changed_by(both.attend_over_time, tokens, place) == time_of(place)
        assert changed_by(both, tokens, place) == EVERYWHERE


def test_the_spatial_encoder_sees_single_tubelets():
    """Until the temporal encoder, a frame changes nothing but the features of its own tubelet."""
    model, clip = build(**ENCODER, temporal_depth=0, pool='none').double(), torch.randn(1, 3, 8, 16, 16).double()
    other = clip.clone()
    other[:, :, 5] += 1
    changed = (model(clip) != model(other)).any(1)[0].flatten(1).any(1)
    assert changed.tolist() == [False, False, True, False]


@pytest.mark.parametrize('order', ['space_first', 'time_first'])
def test_factorized_self_attention_by_definition(order):
    """Equations 4 to 6 of the paper, written out for each frame and each place."""
    block = self_attention_block(order)
    x = torch.randn(2, FRAMES, PLACES, 16, dtype=torch.float64)
    with torch.no_grad():
        expected = x.clone()
        for axis in ('space', 'time') if order == 'space_first' else ('time', 'space'):
            if axis == 'space':
                parts = [block.attn(block.norm1(expected[:, t])) for t in range(FRAMES)]
                expected = expected + torch.stack(parts, 1)
            else:
                parts = [block.temporal_attn(block.temporal_norm1(expected[:, :, n])) for n in range(PLACES)]
                expected = expected + torch.stack(parts, 2)
        expected = expected + block.mlp(block.norm2(expected))
        torch.testing.assert_close(block(x), expected)


def test_factorized_dot_product_by_definition():
    """Equation 7: softmax attention per head, the first half of the heads over time, the second within frames."""
    attention = randomized(SplitAttention(16, 4)).double()
    x = torch.randn(1, FRAMES, PLACES, 16, dtype=torch.float64)
    with torch.no_grad():
        q, k, v = attention.qkv(x)[0].chunk(3, -1)
        heads = []
        for index in range(4):
            part = slice(4 * index, 4 * index + 4)
            head = torch.empty(FRAMES, PLACES, 4, dtype=torch.float64)
            for t, n in EVERYWHERE:
                seen = (slice(None), n) if index < 2 else (t, slice(None))
                weights = (k[seen][:, part] @ q[t, n, part] / 2).softmax(0)
                head[t, n] = weights @ v[seen][:, part]
            heads.append(head)
        torch.testing.assert_close(attention(x)[0], attention.proj(torch.cat(heads, -1)))


@pytest.mark.parametrize('kwargs', [dict(), dict(ENCODER, temporal_depth=2)], ids=['joint', 'encoder'])
def test_class_tokens_alone_are_those_of_the_whole(kwargs):
    """The last block of an encoder computes its class tokens only; an earlier block that is returned, all."""
    model, clip = build(**kwargs).double(), torch.randn(2, 3, 8, 16, 16).double()
    with torch.no_grad():
        fast = model(clip)
        for block in [*model.blocks, *model.temporal_blocks]:
            forward = block.forward
            block.forward = lambda x, class_only=False, forward=forward: forward(x)
        torch.testing.assert_close(fast, model(clip))


def test_pools():
    clip = torch.randn(2, 3, 8, 16, 24)
    maps = build(**SELF | dict(pool='none'))
    found = maps(clip)
    assert found.shape == (2, 16, 4, 4, 6) and found.is_contiguous()
    torch.testing.assert_close(build(**SELF)(clip), found.mean((2, 3, 4)))
    assert build(pool='none')(clip).shape == (2, 16, 4, 4, 6)
    assert build(pool='avg').cls_token is None and build(pool='none').cls_token is not None


def test_outputs_of_the_factorized_encoder():
    """Stages of the spatial encoder give the mean over the frames, as the baseline without a temporal one does."""
    clip = torch.randn(2, 3, 8, 16, 16)
    model = build(**ENCODER, temporal_depth=3, out_indices=(0, 1, 3, 4))
    spatial, end, _, temporal = model(clip)
    assert (
        not hasattr(model, 'norm2')
        and {'norm', 'norm0', 'norm3', 'temporal_norm'} <= dict(model.named_children()).keys()
    )
    baseline = ViViT(**{**SMALL, **ENCODER, 'temporal_depth': 0}).eval()
    baseline.load_state_dict({key: model.state_dict()[key] for key in baseline.state_dict()})
    torch.testing.assert_close(baseline(clip), end)
    assert not torch.allclose(temporal, end) and not torch.allclose(spatial, end)
    with pytest.raises(ValueError, match="pool='none': blocks from 2 on are of the temporal encoder"):
        build(**ENCODER, pool='none')
    assert build(**ENCODER, pool='none', out_indices=1)(clip).shape == (2, 16, 4, 4, 4)


def test_attention_over_time_starts_without_effect():
    """Nothing but the last projection is zero, since zero queries and keys would never learn (section 3.4)."""
    model = ViViT(**{**SMALL, **SELF})
    for name, parameter in model.named_parameters():
        if '.temporal_attn.proj.' in name:
            assert not parameter.any()
        elif name.endswith('.weight'):
            assert parameter.any()
    alone = ViViT(**{**SMALL, **ENCODER, 'temporal_depth': 0, 'pool': 'none'})
    kept = {key: value for key, value in model.state_dict().items() if 'temporal' not in key and key != 'pos_embed'}
    alone.load_state_dict({**alone.state_dict(), **kept})
    clip = torch.randn(1, 3, 8, 16, 16)
    tokens, _ = alone.embed(clip)
    expected = alone.blocks[1](alone.blocks[0](tokens[:, :, 1:]))
    torch.testing.assert_close(model.blocks[1](model.blocks[0](tokens[:, :, 1:])), expected)


@pytest.mark.parametrize('rescale', [True, False])
def test_stochastic_depth(rescale):
    """Clips are dropped as wholes; the published form keeps what it does not drop as it is."""
    drop = DropPath(0.5, rescale).train()
    torch.manual_seed(0)
    kept = drop(torch.ones(64, 3, 5, 2)).flatten(1)
    assert torch.equal(kept.amin(1), kept.amax(1))
    assert set(kept[:, 0].tolist()) == {0.0, 2.0 if rescale else 1.0}


def test_stochastic_depth_of_the_models():
    """Rates rise from 0 in each encoder."""
    model = build(**ENCODER, temporal_depth=3, drop_path_rate=0.3, drop_path_rescale=False)
    assert [block.drop_path.rate for block in model.blocks] == pytest.approx([0, 0.3])
    assert [block.drop_path.rate for block in model.temporal_blocks] == pytest.approx([0, 0.15, 0.3])
    assert not any(block.drop_path.rescale for block in [*model.blocks, *model.temporal_blocks])


def test_uniform_frames():
    assert uniform_frames(32, 8) == [4, 7, 11, 14, 18, 21, 25, 28]
    assert uniform_frames(6, 6) == [0, 1, 2, 3, 4, 5]
    assert uniform_frames(1, 1) == [0]
    for frames in range(1, 40):
        for tokens in range(1, frames + 1):
            found = uniform_frames(frames, tokens)
            assert len(found) == tokens and found == sorted(set(found)) and 0 <= found[0] and found[-1] < frames


def test_uniform_tokens_are_single_frames():
    model = build(**SELF | dict(tokens='uniform'), arch=dict(embed_dims=16, depth=1, num_heads=4))
    clip = torch.randn(1, 3, 8, 16, 16)
    assert model.patch_embed.proj.weight.ndim == 4
    seen = clip.requires_grad_()
    model(seen).square().sum().backward()
    frames = seen.grad.flatten(3).any(-1).any(1)[0].nonzero().flatten().tolist()
    assert frames == uniform_frames(8, 4)


@pytest.mark.parametrize('mode', ['bicubic', 'nearest'])
@pytest.mark.parametrize('size', [(8, 16, 16), (12, 24, 32), (2, 4, 4), (6, 13, 17)], ids=str)
@pytest.mark.parametrize('kwargs', [dict(), dict(ENCODER, temporal_depth=1)], ids=['joint', 'encoder'])
def test_tables_are_resized_in_space_and_in_time(mode, size, kwargs):
    """Zero patches leave the tables: of a frame in space, and over time each place by itself."""
    model = build(pos_interpolation=mode, **kwargs)
    nn.init.zeros_(model.patch_embed.proj.bias)
    tokens, grid = model.embed(torch.zeros(1, 3, *size))
    assert grid == (size[0] // 2, -(-size[1] // 4), -(-size[2] // 4))
    torch.testing.assert_close(tokens[0, 0, :1], (model.cls_token + model.pos_embed[:, :1])[0])
    space = dict(mode='nearest') if mode == 'nearest' else dict(mode='bicubic', align_corners=False)
    time = dict(mode='nearest') if mode == 'nearest' else dict(mode='linear', align_corners=False)
    table = model.pos_embed[0, 1:].unflatten(0, model.table_grid).permute(0, 3, 1, 2)
    table = nn.functional.interpolate(table, size=grid[1:], **space)
    if not kwargs:
        table = nn.functional.interpolate(table.flatten(1).T[None], size=grid[0], **time)[0].T.unflatten(
            1, table.shape[1:]
        )
    expected = table.movedim(1, -1).flatten(1, 2)
    if kwargs:
        torch.testing.assert_close(tokens[0, :, 1:], expected.expand(grid[0], -1, -1))
    else:
        torch.testing.assert_close(tokens[0, 0, 1:], expected.flatten(0, 1))


def test_frozen_tables():
    """The temporal encoder's tables stay free as long as its first block does."""

    def frozen(stages: int) -> set[str]:
        model = build(**ENCODER, temporal_depth=2, frozen_stages=stages)
        return {name for name, p in model.named_parameters() if not p.requires_grad}

    assert frozen(0) == {'cls_token', 'pos_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias'}
    assert 'norm.weight' in frozen(2) and 'norm.weight' not in frozen(1)
    assert not any(name.startswith('temporal') for name in frozen(2))
    assert {'temporal_cls_token', 'temporal_pos_embed', 'temporal_blocks.0.norm1.weight'} <= frozen(3)


def test_no_weight_decay():
    assert build().no_weight_decay() == {'cls_token', 'pos_embed'}
    tables = {'cls_token', 'pos_embed', 'temporal_cls_token', 'temporal_pos_embed'}
    assert build(**ENCODER, temporal_depth=1).no_weight_decay() == tables


class Largest(TorchDispatchMode):
    """Remembers the size of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.numel = max(self.numel, tensor.numel())
        return result


@pytest.mark.parametrize('kwargs', MODELS.values(), ids=MODELS)
def test_no_matrix_of_tokens_by_tokens(kwargs):
    """Of 3,136 tokens, neither in the forward nor in the backward pass."""
    model = ViViT(arch=dict(embed_dims=8, depth=2, num_heads=2), **kwargs)
    with Largest() as record:
        model(torch.randn(1, 3, 32, 224, 224)).sum().backward()
    assert 3 * 32 * 224 * 224 <= record.numel < 3136**2 / 2


def test_clips_of_broken_tubelets():
    """The last frame is repeated, with a warning."""
    model, clip = build(), torch.randn(1, 3, 7, 16, 16)
    with pytest.warns(
        UserWarning, match=r'clip length 7 is not divisible by tubelet_size\[0\]=2, so its last frame is repeat'
    ):
        found = model(clip)
    torch.testing.assert_close(found, model(torch.cat([clip, clip[:, :, -1:]], 2)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        build(tokens='uniform')(clip)


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(attention='divided'), "'factorized_dot_product'"),
        (dict(order='space_time'), "'time_first'"),
        (dict(tokens='patches'), "'uniform'"),
        (dict(pool='mean'), "'avg'"),
        (dict(SELF, pool='cls'), "pool='cls': attention='factorized_self_attention' has no class token"),
        (dict(DOT, pool='cls'), "set pool='avg'"),
        (dict(DOT, arch=dict(embed_dims=15, depth=1, num_heads=3)), 'num_heads=3: half of the heads'),
        (dict(num_frames=7), r'num_frames=7 is not divisible by tubelet_size\[0\]=2'),
        (dict(num_frames=0), 'num_frames=0: give a positive integer'),
        (dict(img_size=-1), 'img_size=-1: give a positive integer, or two'),
        (dict(tubelet_size=16), 'three positive integers'),
        (dict(ENCODER, temporal_depth=-1), 'temporal_depth=-1: give an integer of at least 0'),
        (dict(pos_interpolation='bilinear'), "'bicubic'"),
        (dict(drop_path_rate=1.0), r'drop_path_rate=1.0: give a number in \[0, 1\)'),
        (dict(arch='small'), "'huge'"),
    ],
    ids=str,
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ViViT(**{**SMALL, **kwargs})


def test_unknown_keyword():
    with pytest.raises(TypeError, match='num_frame'):
        ViViT(num_frame=8)
