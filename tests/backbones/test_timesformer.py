"""TimeSformer: published sizes, attention schemes by definition, position tables, outputs."""

import pytest
import torch
from helpers import randomized
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidtx_mm.backbones import VideoTimeSformer
from vidtx_mm.backbones.timesformer_block import SCHEMES
from vidtx_mm.benchmark.complexity import count
from vidtx_mm.layers import resize_space_table

SMALL = dict(arch=dict(embed_dims=16, depth=2, num_heads=2), img_size=16, patch_size=4, num_frames=4)


def build(**kwargs) -> VideoTimeSformer:
    """A small model whose weights, tables and added attentions are all in effect."""
    torch.manual_seed(0)
    return randomized(VideoTimeSformer(**{**SMALL, **kwargs}))


@pytest.mark.parametrize(
    'kwargs, classes, parameters',
    [
        (dict(), 400, 121_566_352),
        (dict(num_frames=16, img_size=448), 400, 122_024_080),
        (dict(num_frames=96), 400, 121_633_936),
        (dict(attention='joint'), 400, 86_112_400),
        (dict(attention='space'), 400, 86_106_256),
        (dict(), 174, 121_392_558),
        (dict(attention='joint'), 174, 85_938_606),
    ],
    ids=str,
)
def test_parameter_counts(kwargs, classes, parameters):
    with torch.device('meta'):
        model = VideoTimeSformer(**kwargs)
    assert sum(p.numel() for p in model.parameters()) + (model.out_channels[0] + 1) * classes == parameters


@pytest.mark.parametrize(
    'attention, millions',
    [('space', 85.9), ('joint', 85.9), ('divided', 121.4), ('local_global', 121.4), ('axial', 156.8)],
)
def test_scheme_parameter_counts(attention, millions):
    """Table 1 of the paper, with the 174 classes of Something-Something V2."""
    with torch.device('meta'):
        model = VideoTimeSformer(attention=attention)
    total = sum(p.numel() for p in model.parameters()) + (model.out_channels[0] + 1) * 174
    assert round(total / 1e6, 1) == millions


def test_added_attentions_start_without_effect():
    for attention in ('divided', 'local_global', 'axial'):
        for name, parameter in VideoTimeSformer(**SMALL, attention=attention).named_parameters():
            assert ('_fc.' in name) <= (not parameter.any())


def test_untrained_divided_attention_gives_the_image_features_of_a_still_clip():
    """While the temporal attention has no effect, a clip that repeats a frame has the features of that frame."""
    torch.manual_seed(0)
    image = VideoTimeSformer(**SMALL, attention='space').eval()
    frame = torch.randn(2, 3, 1, 16, 16)
    video = VideoTimeSformer(**SMALL).eval()
    video.load_state_dict({**video.state_dict(), **image.state_dict()})
    torch.testing.assert_close(video(frame.expand(-1, -1, 4, -1, -1)), image(frame))


def changed_by(function, patches: torch.Tensor, place: tuple[int, int, int]) -> set[tuple[int, ...]]:
    """The places (t, h, w) whose result changes when the patch at ``place`` does."""
    other = patches.clone()
    other[(0, *place)] *= -1
    return {tuple(p) for p in (function(other) != function(patches))[0].any(-1).nonzero().tolist()}


def window(place: int, length: int) -> range:
    """The half of an axis around a place, moved inside: the keys of a query."""
    size = (length + 1) // 2
    start = min(max(place - (size - 1) // 2, 0), length - size)
    return range(start, start + size)


# Whether a query at q = (t, h, w) sees a key at k in a grid of T x H x W, per scheme and attention.
SEES = {
    ('divided', 'temporal'): lambda q, k, grid: q[1:] == k[1:],
    ('divided', 'attn'): lambda q, k, grid: q[0] == k[0],
    ('joint', 'attn'): lambda q, k, grid: True,
    ('axial', 'temporal'): lambda q, k, grid: q[1:] == k[1:],
    ('axial', 'width'): lambda q, k, grid: q[:2] == k[:2],
    ('axial', 'attn'): lambda q, k, grid: (q[0], q[2]) == (k[0], k[2]),
    ('local_global', 'local'): lambda q, k, grid: all(k[i] in window(q[i], grid[i]) for i in (1, 2)),
    ('local_global', 'attn'): lambda q, k, grid: all((a - b) % 2 == 0 for a, b in zip(q, k, strict=True)),
}


@pytest.mark.parametrize('grid', [(4, 4, 6), (3, 5, 4), (2, 3, 1)], ids=str)
@pytest.mark.parametrize('attention, step', SEES)
def test_receptive_field(attention, step, grid):
    """The tokens that influence a token are those that the paper names (section 3)."""
    block = build(attention=attention).double().blocks[0]
    patches = torch.randn(1, *grid, 16, dtype=torch.float64)
    cls = torch.randn(1, 1, 16, dtype=torch.float64)
    places = [(t, h, w) for t in range(grid[0]) for h in range(grid[1]) for w in range(grid[2])]

    def residual(x: torch.Tensor) -> torch.Tensor:
        return block.attend(cls, x)[1] if step == 'attn' else block.attend_added(step, x)

    for key in (places[0], places[len(places) // 2], places[-1]):
        expected = {query for query in places if SEES[attention, step](query, key, grid)}
        assert changed_by(residual, patches, key) == expected


@pytest.mark.parametrize('attention', SCHEMES)
def test_class_token_sees_and_is_seen_by_all_patches(attention):
    block = build(attention=attention).double().blocks[0]
    frames = 1 if attention == 'space' else 3
    patches = torch.randn(1, frames, 4, 5, 16, dtype=torch.float64)
    cls = torch.randn(1, 1, 16, dtype=torch.float64)
    class_residual, residual = block.attend(cls, patches)
    assert (block.attend(-cls, patches)[1] != residual).any(-1).all()
    for place in ((0, 0, 0), (frames - 1, 3, 4), (frames // 2, 2, 1)):
        other = patches.clone()
        other[(0, *place)] *= -1
        assert (block.attend(cls, other)[0] != class_residual).any()


def divided_block_by_definition(block: nn.Module, order: str, x: torch.Tensor, grid: tuple[int, int, int]):
    """Equations 10 and 11 of the paper written out per token, for a single sample (N, C)."""
    frames, height, width = grid
    index = torch.arange(frames * height * width).view(frames, -1) + 1

    def temporal(x: torch.Tensor) -> torch.Tensor:
        residual = torch.zeros_like(x)
        for group in index.T:
            residual[group] = block.temporal_fc(block.temporal_attn(block.temporal_norm1(x[group])[None])[0])
        return residual

    def spatial(x: torch.Tensor) -> torch.Tensor:
        residual = torch.zeros_like(x)
        for group in index:
            attended = block.attn(block.norm1(torch.cat([x[:1], x[group]]))[None])[0]
            residual[0] += attended[0] / frames
            residual[group] = attended[1:]
        return residual

    if order == 'time_first':
        x = x + temporal(x)
        x = x + spatial(x)
    elif order == 'space_first':
        x = x + spatial(x)
        x = x + temporal(x)
    else:
        x = x + temporal(x) + spatial(x)
    return x + block.mlp(block.norm2(x))


@pytest.mark.parametrize('order', ['time_first', 'space_first', 'parallel'])
def test_orders_of_divided_attention(order):
    block = build(order=order).double().blocks[1]
    grid = (3, 2, 4)
    x = torch.randn(2, 1 + 24, 16, dtype=torch.float64)
    with torch.no_grad():
        expected = torch.stack([divided_block_by_definition(block, order, sample, grid) for sample in x])
        torch.testing.assert_close(block(x, grid), expected)


def test_drop_path_drops_groups():
    """A row of the temporal attention that is dropped still gets the bias of its fc; each place draws for itself."""
    block = build(drop_path_rate=0.5).blocks[1].train()
    patches = torch.randn(1, 4, 8, 8, 16)
    residual = block.attend_added('temporal', patches)
    dropped = (residual == block.temporal_fc.bias).all(-1)
    assert torch.equal(dropped.all(1), dropped.any(1))  # a place is dropped in all frames or in none
    assert 0 < dropped[0, 0].sum() < 64


def test_drop_path_rises_from_block_to_block():
    """transformers' first version took one rate for all blocks; the official code draws a line from 0."""
    model = VideoTimeSformer(**{**SMALL, 'arch': dict(embed_dims=16, depth=5, num_heads=2)}, drop_path_rate=0.2)
    assert [round(block.drop_path.rate, 9) for block in model.blocks] == [0, 0.05, 0.1, 0.15, 0.2]


def test_pools():
    x = torch.randn(2, 3, 3, 16, 24)
    maps = build(pool='none')(x)
    assert maps.shape == (2, 16, 3, 4, 6) and maps.is_contiguous()
    torch.testing.assert_close(build(pool='avg')(x), maps.mean((2, 3, 4)))
    assert build(pool='cls')(x).shape == (2, 16)


@pytest.mark.parametrize('attention', SCHEMES)
def test_the_class_token_alone_is_the_same(attention):
    """The last block leaves out what the class token does not need, in training too, where groups are dropped."""
    block = build(attention=attention, drop_path_rate=0.5).double().blocks[1].train()
    grid = (1 if attention == 'space' else 3, 4, 5)
    x = torch.randn(2, 1 + 20 * grid[0], 16, dtype=torch.float64)
    torch.manual_seed(1)
    expected = block(x, grid)[:, :1]
    torch.manual_seed(1)
    torch.testing.assert_close(block(x, grid, class_only=True), expected)


def test_space_averages_frames_before_the_norm():
    model, x = build(attention='space'), torch.randn(2, 3, 3, 16, 16)
    frames = []
    for frame in x.unbind(2):
        tokens, grid = model.embed(frame[:, :, None])
        for block in model.blocks:
            tokens = block(tokens, grid)
        frames.append(tokens[:, 0])
    torch.testing.assert_close(model(x), model.norm(torch.stack(frames).mean(0)))


@pytest.mark.parametrize('mode', ['bicubic', 'nearest'])
@pytest.mark.parametrize('size', [(4, 16, 16), (6, 24, 32), (1, 4, 4), (3, 32, 4), (2, 13, 17)], ids=str)
def test_tables_are_resized_in_space_and_in_time(mode, size):
    """Zero patches leave the tables: the space table on the (H, W) grid and the time table, each resized by itself."""
    model = build(pos_interpolation=mode)
    nn.init.zeros_(model.patch_embed.proj.bias)
    tokens, grid = model.embed(torch.zeros(1, 3, *size))
    assert grid == (size[0], -(-size[1] // 4), -(-size[2] // 4))
    torch.testing.assert_close(tokens[:, :1], model.cls_token + model.pos_embed[:, :1])
    space = resize_space_table(model.pos_embed[:, 1:], (4, 4), grid[1:], mode)
    how = dict(mode='nearest') if mode == 'nearest' else dict(mode='linear', align_corners=False)
    time = nn.functional.interpolate(model.time_embed.mT, size=size[0], **how).mT
    torch.testing.assert_close(tokens[:, 1:], (time[:, :, None] + space[:, None]).flatten(1, 2))


def test_non_square_table():
    model = build(img_size=(8, 24))
    assert model.pos_embed.shape == (1, 1 + 2 * 6, 16)
    assert model(torch.randn(1, 3, 4, 8, 24)).shape == (1, 16)


def test_frozen_tables():
    model = build(frozen_stages=0)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {'cls_token', 'pos_embed', 'time_embed', 'patch_embed.proj.weight', 'patch_embed.proj.bias'}


def test_no_weight_decay():
    assert build().no_weight_decay() == {'cls_token', 'pos_embed', 'time_embed'}
    assert build(attention='space').no_weight_decay() == {'cls_token', 'pos_embed'}


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


def test_long_clips_need_no_space_time_matrix():
    """The largest tensor of divided attention grows with the frames, not with their square; joint's does not either."""
    tokens, largest = 196, {}
    for attention in ('divided', 'joint', 'local_global', 'axial'):
        model = VideoTimeSformer(arch=dict(embed_dims=16, depth=1, num_heads=2), attention=attention).eval()
        for frames in (24, 96) if attention == 'divided' else (8, 16):
            with torch.no_grad(), Largest() as record:
                model(torch.randn(1, 3, frames, 224, 224))
            largest[attention, frames] = record.numel
            assert record.numel < (frames * tokens) ** 2 / 2
    assert largest['divided', 96] <= 4 * largest['divided', 24]


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(attention='divided_space_time'), "'local_global'"),
        (dict(order='time-first'), "'time_first'"),
        (dict(attention='joint', order='parallel'), "attention='divided'"),
        (dict(pool='mean'), "'avg'"),
        (dict(pos_interpolation='bilinear'), "'bicubic'"),
        (dict(arch='huge'), "'large'"),
        (dict(num_frames=0), 'num_frames=0: give a positive integer'),
        (dict(patch_size=(16, 16)), r'patch_size=\(16, 16\): give a positive integer'),
        (dict(img_size=(8, 8, 8)), r'img_size=\(8, 8, 8\): give a positive integer, or two'),
        (dict(arch=dict(embed_dims=8, depths=1, num_heads=2)), "missing keys \\['depth'\\]"),
        (dict(arch=dict(embed_dims=10, depth=1, num_heads=4)), 'num_heads=4'),
    ],
    ids=str,
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        VideoTimeSformer(**{**SMALL, **kwargs})


def test_bad_inputs():
    with pytest.raises(TypeError, match='num_frame'):
        VideoTimeSformer(num_frame=8)
    with pytest.raises(ValueError, match='5-dimensional'):
        build()(torch.randn(3, 4, 16, 16))
    with pytest.raises(ValueError, match='input channels'):
        build()(torch.randn(1, 4, 3, 16, 16))


@pytest.mark.parametrize(
    'kwargs, frames, size, gmacs',
    [
        (dict(), 8, 224, 196.7),
        (dict(num_frames=16, img_size=448), 16, 448, 1703),
        (dict(num_frames=96), 96, 224, 2380),
        (dict(attention='joint'), 8, 224, 180),
        (dict(attention='space'), 8, 224, 141),
    ],
    ids=str,
)
def test_multiply_adds(kwargs, frames, size, gmacs):
    """Published: the paper (a third of three views), MMAction2's README for the last two. Every patch is computed."""
    with torch.device('meta'):
        model = VideoTimeSformer(**kwargs, pool='avg')
    assert count(model, (1, 3, frames, size, size)).macs / 1e9 == pytest.approx(gmacs, rel=0.01)


@pytest.mark.parametrize('attention', ['divided', 'local_global', 'axial'])
def test_inference_equals_the_pass_with_gradients(attention):
    model = build(attention=attention).double()
    clips = torch.randn(1, 3, 4, 16, 16, dtype=torch.float64)
    expected = model(clips).detach()
    with torch.no_grad():
        torch.testing.assert_close(model(clips), expected, rtol=1e-12, atol=1e-12)
