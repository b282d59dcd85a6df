"""UniFormer: published sizes, which tokens meet, and what becomes of odd sizes."""

import warnings
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vidtx_mm.backbones import ImageUniFormer, VideoUniFormer
from vidtx_mm.benchmark.complexity import count

TINY = dict(depths=(1, 1, 1, 1), embed_dims=(8, 8, 8, 8), head_dim=8, mlp_ratio=2.0)


def tiny(cls: type = VideoUniFormer, **kwargs) -> nn.Module:
    torch.manual_seed(0)
    return cls(**{'arch': TINY, 'drop_path_rate': 0.0, **kwargs}).eval()


def total_parameters(model: nn.Module, classes: int) -> int:
    return sum(p.numel() for p in model.parameters()) + (model.out_channels[-1] + 1) * classes


@pytest.mark.parametrize('arch, parameters', [('small', 21_400_400), ('base', 49_813_200)])
def test_video_parameter_counts(arch, parameters):
    with torch.device('meta'):
        assert total_parameters(VideoUniFormer(arch), 400) == parameters


@pytest.mark.parametrize(
    'arch, parameters',
    [
        ('small', 21_545_256),
        ('small-plus', 24_032_552),
        ('base', 49_776_552),
        ('base-ls', 49_796_520),
        ('large-ls', 100_098_768 - 641_000),  # the published count has the token-labeling head
    ],
)
def test_image_parameter_counts(arch, parameters):
    with torch.device('meta'):
        assert total_parameters(ImageUniFormer(arch, final_norm=True), 1000) == parameters


@pytest.mark.parametrize(
    'arch, frames, giga',
    [('small', 8, 17.57), ('small', 16, 41.66), ('small', 32, 109.45), ('base', 16, 96.55), ('base', 32, 258.25)],
)
def test_video_macs(arch, frames, giga):
    with torch.device('meta'):
        model = VideoUniFormer(arch)
    assert count(model, (1, 3, frames, 224, 224)).macs / 1e9 == pytest.approx(giga, rel=0.01)


@pytest.mark.parametrize('arch, giga', [('small', 3.63), ('small-plus', 4.20), ('base', 8.25)])
def test_image_macs(arch, giga):
    with torch.device('meta'):
        model = ImageUniFormer(arch, final_norm=True)
    assert count(model, (1, 3, 224, 224)).macs / 1e9 == pytest.approx(giga, rel=0.01)


@pytest.mark.parametrize('options', [dict(), dict(conv_stem=True, layer_scale=1e-6)], ids=str)
def test_same_keys_in_two_and_three_dimensions(options):
    """Only convolution kernels differ, by a time axis."""
    arch = dict(TINY, **options)
    video, image = tiny(arch=arch).state_dict(), tiny(ImageUniFormer, arch=arch, final_norm=True).state_dict()
    assert list(video) == list(image)
    for key, tensor in video.items():
        other = image[key].shape
        assert tensor.shape == other or (tensor.dim() == 5 and (*tensor.shape[:2], *tensor.shape[3:]) == other)


def influenced(block: nn.Module, grid: tuple[int, ...], token: tuple[int, ...]) -> set[tuple[int, ...]]:
    """The tokens after ``block`` that change when one before it does."""
    x = torch.randn(1, *grid, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[(0, *token)] += torch.arange(8)
    changed = (block(x) - block(other)).abs().amax((0, -1)) > 0
    return {tuple(c) for c in changed.nonzero().tolist()}


def neighbors(grid: tuple[int, ...], token: tuple[int, ...], reach: int) -> set[tuple[int, ...]]:
    axes = [range(max(t - reach, 0), min(t + reach + 1, size)) for t, size in zip(token, grid, strict=True)]
    return set(product(*axes))


@pytest.mark.parametrize('grid, cls', [((5, 9, 9), VideoUniFormer), ((9, 9), ImageUniFormer)])
def test_local_blocks_reach_three_tokens(grid, cls):
    """The position encoding spans 3 tokens per axis and the local relation 5, so together each side reaches 1 + 2."""
    block = tiny(cls, out_indices=3).double().blocks1[0]
    token = tuple(size // 2 for size in grid)
    assert influenced(block, grid, token) == neighbors(grid, token, 3)


@pytest.mark.parametrize('cls, grid', [(VideoUniFormer, (3, 4, 4)), (ImageUniFormer, (7, 7))])
def test_global_blocks_reach_everything(cls, grid):
    block = tiny(cls, out_indices=3).double().blocks4[0]
    assert influenced(block, grid, (0,) * len(grid)) == set(product(*map(range, grid)))


def test_window_blocks_stay_in_windows():
    """Attention reaches the windows of the token and of the neighbors to which its position encoding spreads it."""
    model = tiny(ImageUniFormer, stage3='window', window_size=3, out_indices=3).double()
    block = model.blocks3[0]
    assert influenced(block, (7, 7), (1, 1)) == set(product(range(3), range(3)))
    assert influenced(block, (7, 7), (1, 2)) == set(product(range(3), range(6)))


def test_windows_larger_than_the_map_are_padded():
    """A window keeps its size: its zero tokens outside the map are attended, as in the official code."""
    model = tiny(ImageUniFormer, stage3='window', window_size=5, out_indices=3).double()
    block, x = model.blocks3[0], torch.randn(1, 3, 4, 8, dtype=torch.float64)
    padded = nn.functional.pad(x, (0, 0, 0, 1, 0, 2))
    expected = block.attn(padded.flatten(1, 2)).view(1, 5, 5, 8)[:, :3, :4]
    torch.testing.assert_close(block.attend(x), expected)


@pytest.mark.parametrize('depth, whole', [(8, {3, 7}), (20, {3, 7, 11, 15, 19})])
def test_hybrid_blocks(depth, whole):
    with torch.device('meta'):
        model = ImageUniFormer(dict(TINY, depths=(1, 1, depth, 2)), stage3='hybrid')
    assert {i for i, block in enumerate(model.blocks3) if not hasattr(block, 'window')} == whole
    assert not any(hasattr(block, 'window') for block in model.blocks4)


def test_split_blocks_reach_time_and_space():
    """Time first, then space: a token reaches all frames at its place and, through them, all places."""
    block = tiny(attention='split').double().blocks3[0]
    torch.nn.init.normal_(block.t_attn.qkv.weight, generator=torch.Generator().manual_seed(1))
    nn.init.normal_(block.t_attn.proj.weight, generator=torch.Generator().manual_seed(2))
    nn.init.zeros_(block.pos_embed.weight)
    grid = (3, 2, 4)
    assert influenced(block, grid, (1, 0, 0)) == set(product(*map(range, grid)))
    nn.init.zeros_(block.t_attn.proj.weight)
    assert influenced(block, grid, (1, 0, 0)) == set(product((1,), range(2), range(4)))


def test_split_starts_without_time():
    block = tiny(attention='split').blocks3[0]
    x = torch.randn(1, 3, 2, 2, 8)
    assert torch.count_nonzero(block.attend_over_time(block.t_norm(x))) == 0
    assert torch.count_nonzero(block.t_attn.proj.weight - 1) == 0


def test_floor_drops_what_is_left_over():
    """The first down-sampling of 'floor' never sees the remainder, and the model says so once."""
    model = tiny()
    x = torch.randn(1, 3, 4, 35, 66)
    with pytest.warns(UserWarning, match='35 x 66.*drops 3 rows.*2 columns'):
        y = model(x)
    assert y.shape[-2:] == (1, 2)
    torch.testing.assert_close(y, model(x[..., :32, :64]))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model(x)
        tiny()(x[..., :32, :64])
        tiny(odd_size='pad')(x)


def test_pad_keeps_what_is_left_over():
    model = tiny(odd_size='pad')
    x = torch.randn(1, 3, 4, 35, 66)
    y = model(x)
    assert y.shape[-2:] == (2, 3)
    changed = x.clone()
    changed[..., -1, -1] += 1
    assert not torch.equal(model(changed), y)
    assert model(x[..., :5, :1]).shape[-2:] == (1, 1)


@pytest.mark.parametrize('frames', [1, 2, 3, 5])
def test_any_number_of_frames(frames):
    assert tiny()(torch.randn(1, 3, frames, 32, 32)).shape[2] == -(-frames // 2)


@pytest.mark.parametrize('cls, size', [(VideoUniFormer, (4, 31, 64)), (ImageUniFormer, (64, 8))])
def test_too_small(cls, size):
    with pytest.raises(ValueError, match=r"at least 32 x 32: give a larger input, or set odd_size='pad'"):
        tiny(cls)(torch.randn(1, 3, *size))


def test_conv_stem_rounds_up():
    model = tiny(ImageUniFormer, arch=dict(TINY, conv_stem=True))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert [tuple(y.shape[-2:]) for y in model(torch.randn(1, 3, 9, 33))] == [(3, 9), (2, 5), (1, 3), (1, 2)]
        clips = tiny(arch=dict(TINY, conv_stem=True))
        assert [clips(torch.randn(1, 3, t, 9, 33)).shape[2:] for t in (1, 2, 3)] == [(1, 1, 2), (1, 1, 2), (2, 1, 2)]


def test_epsilons_are_the_published_ones():
    model = tiny(ImageUniFormer)
    found = {name: m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm)}
    assert {name for name, eps in found.items() if eps == 1e-5} == {f'patch_embed{i}.norm' for i in range(1, 5)}
    assert {eps for name, eps in found.items() if not name.startswith('patch_embed')} == {1e-6}
    mmaction = tiny(norm_eps=1e-5)
    assert {m.eps for m in mmaction.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}


def test_norm_eval():
    model = tiny(ImageUniFormer, norm_eval=True).train()
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm)]
    assert norms and not any(m.training for m in norms)
    assert model.training and all(m.weight.requires_grad for m in norms)
    before = {name: b.clone() for name, b in model.named_buffers()}
    sum(y.sum() for y in model(torch.randn(2, 3, 32, 32))).backward()
    torch.testing.assert_close(dict(model.named_buffers()), before, rtol=0, atol=0)


def test_layer_scale_weighs_the_branches():
    """With gammas of zero an attention block is its position encoding alone; local blocks have none."""
    model = tiny(ImageUniFormer, arch=dict(TINY, layer_scale=1e-6))
    gammas = [name for name, _ in model.named_parameters() if 'gamma' in name]
    assert gammas == [f'blocks{stage}.0.gamma_{i}' for stage in (3, 4) for i in (1, 2)]
    block, x = model.blocks3[0], torch.randn(1, 4, 4, 8)
    nn.init.zeros_(block.gamma_1), nn.init.zeros_(block.gamma_2)
    assert torch.equal(block(x), x + block.pos_embed(x))


def test_layer_scale_of_the_split_block():
    """It weighs the attention and the MLP; the attention over time enters through the former alone."""
    block = tiny(attention='split', arch=dict(TINY, layer_scale=1e-6)).blocks3[0]
    nn.init.zeros_(block.gamma_1), nn.init.zeros_(block.gamma_2)
    x = torch.randn(1, 2, 4, 4, 8)
    assert torch.equal(block(x), x + block.pos_embed(x))


def test_archs_do_not_share_state():
    """Layer scale belongs to the arch that asks for it, not to every model built after it."""
    with torch.device('meta'):
        ImageUniFormer('base-ls')
        assert not any('gamma' in name for name, _ in ImageUniFormer('base').named_parameters())


@pytest.mark.parametrize(
    'cls, kwargs, message',
    [
        (VideoUniFormer, dict(attention='divided'), "attention='divided'.*'split'"),
        (VideoUniFormer, dict(arch='large-ls'), "arch='large-ls'.*'small'"),
        (VideoUniFormer, dict(odd_size='crop'), "odd_size='crop'"),
        (VideoUniFormer, dict(arch=dict(TINY, head_dim=3)), 'head_dim=3 does not divide the 8'),
        (VideoUniFormer, dict(arch=dict(TINY, depths=(1, 1))), '4 depths'),
        (VideoUniFormer, dict(arch=dict(TINY, heads=2)), r"unknown keys \['heads'\].*may have \['conv_stem', 'layer_s"),
        (VideoUniFormer, dict(arch={k: v for k, v in TINY.items() if k != 'head_dim'}), r"missing keys \['head_dim'\]"),
        (ImageUniFormer, dict(stage3='windows'), "stage3='windows'.*'hybrid'"),
        (ImageUniFormer, dict(final_norm=True, out_indices=(0, 3)), 'out_indices'),
    ],
)
def test_bad_arguments(cls, kwargs, message):
    with pytest.raises(ValueError, match=message):
        cls(**{'arch': TINY, **kwargs})
