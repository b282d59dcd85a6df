"""Video Swin: published sizes, biases, masks and receptive fields."""

from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vidtx_mm.backbones import VideoSwin
from vidtx_mm.backbones.video_swin import WindowAttention

K400_HEAD = 400


@pytest.mark.parametrize(
    'kwargs, parameters',
    [
        (dict(arch='tiny'), 27_850_470),
        (dict(arch='small'), 49_509_078),
        (dict(arch='base'), 87_638_984),
        (dict(arch='base', window_size=(16, 7, 7)), 88_655_688),
        (dict(arch='large'), 196_339_116),
        (dict(arch='large', window_size=(8, 12, 12)), 199_384_716),
    ],
    ids=str,
)
def test_parameter_counts(kwargs, parameters):
    with torch.device('meta'):
        assert sum(p.numel() for p in VideoSwin(**kwargs).parameters()) == parameters


@pytest.mark.parametrize('attention, millions', [('joint', 28.2), ('split', 42.0), ('factorized', 36.5)])
def test_design_parameter_counts(attention, millions):
    """Table 4 of the paper, Swin-T with a Kinetics-400 head."""
    with torch.device('meta'):
        model = VideoSwin(attention=attention)
    total = sum(p.numel() for p in model.parameters()) + (model.out_channels[0] + 1) * K400_HEAD
    assert round(total / 1e6, 1) == millions


def pair_bias(table: torch.Tensor, window: tuple[int, int, int], size: tuple[int, int, int]) -> torch.Tensor:
    """The definition: entry (i, j) is the row of the offset i - j, rows ordered t, h, w from -(window - 1)."""
    tokens = list(product(*[range(n) for n in size]))
    bias = torch.empty(table.shape[1], len(tokens), len(tokens), dtype=table.dtype)
    for (i, a), (j, b) in product(enumerate(tokens), repeat=2):
        row = 0
        for p, q, w in zip(a, b, window, strict=True):
            row = row * (2 * w - 1) + (p - q + w - 1)
        bias[:, i, j] = table[row]
    return bias


@pytest.mark.parametrize('size', [(2, 3, 3), (1, 3, 3), (2, 2, 3), (2, 3, 1), (1, 1, 1)])
def test_relative_bias(size):
    window = (2, 3, 3)
    attention = WindowAttention(4, 2, window)
    table = attention.relative_position_bias_table.detach()
    assert torch.equal(attention.bias(size), pair_bias(table, window, size))
    attention.relative_index = 'upstream'
    tokens = size[0] * size[1] * size[2]
    assert torch.equal(attention.bias(size), pair_bias(table, window, window)[:, :tokens, :tokens])


def test_upstream_index_differs_only_where_space_is_clipped():
    torch.manual_seed(0)
    exact = VideoSwin(arch=dict(embed_dims=8, depths=(2,), num_heads=(2,)), window_size=(4, 3, 3), out_indices=0).eval()
    upstream = VideoSwin(
        arch=dict(embed_dims=8, depths=(2,), num_heads=(2,)),
        window_size=(4, 3, 3),
        out_indices=0,
        relative_index='upstream',
    ).eval()
    upstream.load_state_dict(exact.state_dict())
    for parameter in exact.parameters():
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(parameter.numel()))
    upstream.load_state_dict(exact.state_dict())
    time_clipped, space_clipped = torch.randn(1, 3, 4, 12, 16), torch.randn(1, 3, 8, 8, 16)
    assert torch.equal(exact(time_clipped), upstream(time_clipped))
    assert not torch.allclose(exact(space_clipped), upstream(space_clipped), atol=1e-2)


def influenced(model: VideoSwin, grid: tuple[int, int, int], token: tuple[int, int, int]) -> set[tuple[int, ...]]:
    """The output tokens that change when one input token does."""
    t, h, w = model.patch_size
    clip = torch.randn(1, 3, grid[0] * t, grid[1] * h, grid[2] * w, dtype=torch.float64)
    other = clip.clone()
    other[:, :, token[0] * t, token[1] * h, token[2] * w] += 1
    changed = (model(clip) - model(other)).abs().amax((0, 1)) > 0
    return {tuple(c) for c in changed.nonzero().tolist()}


def cells(*axes: range) -> set[tuple[int, ...]]:
    return set(product(*axes))


@pytest.mark.parametrize(
    'kwargs, token, expected',
    [
        # one unshifted block: the window of the token
        (dict(depths=(1,)), (2, 1, 4), cells(range(2, 4), range(0, 2), range(4, 6))),
        # two blocks: the shifted windows (tiles end at 1, 3, 5) that touch the first window
        (dict(depths=(2,)), (2, 1, 4), cells(range(1, 4), range(0, 3), range(3, 6))),
        (dict(depths=(2,), shift='space'), (2, 1, 4), cells(range(2, 4), range(0, 3), range(3, 6))),
        (dict(depths=(2,), shift='none'), (2, 1, 4), cells(range(2, 4), range(0, 2), range(4, 6))),
        # a corner token never meets the other end of the grid, though the roll brings it there
        (dict(depths=(2,)), (0, 0, 0), cells(range(0, 3), range(0, 3), range(0, 3))),
        # spatial windows, then a temporal window at the same places
        (dict(depths=(1,), attention='factorized'), (2, 1, 4), cells(range(2, 4), range(0, 2), range(4, 6))),
        (
            dict(depths=(1,), attention='split'),
            (2, 1, 4),
            cells(range(1, 4), range(0, 2), range(4, 6)),
        ),
    ],
    ids=str,
)
def test_receptive_field(kwargs, token, expected):
    torch.manual_seed(0)
    kwargs = dict(kwargs)
    arch = dict(embed_dims=8, depths=kwargs.pop('depths'), num_heads=(2,))
    model = VideoSwin(arch=arch, patch_size=(1, 2, 2), window_size=(2, 2, 2), out_indices=0, **kwargs).double().eval()
    for name, parameter in model.named_parameters():
        if name.endswith('temporal_scale'):
            torch.nn.init.ones_(parameter)
    assert influenced(model, (4, 6, 6), token) == expected


def test_factorized_starts_as_spatial():
    """The zero weight of the temporal attention makes the start equal to the frames seen one by one (section 4.3)."""
    torch.manual_seed(0)
    model = VideoSwin(
        arch=dict(embed_dims=8, depths=(2,), num_heads=(2,)),
        window_size=(2, 2, 2),
        out_indices=0,
        attention='factorized',
    ).eval()
    clip = torch.randn(1, 3, 8, 16, 16)
    alone = torch.cat([model(clip[:, :, 2 * t : 2 * t + 2]) for t in range(4)], 2)
    torch.testing.assert_close(model(clip), alone)


class LargestTensor(TorchDispatchMode):
    """Record the number of elements of the largest tensor that an operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if (
                isinstance(tensor, torch.Tensor)
                and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.itemsize
            ):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_bias_is_never_expanded_to_all_windows():
    """No tensor of windows x heads x N x N exists in a forward pass, shifted or not."""
    arch = dict(embed_dims=4, depths=(2,), num_heads=(2,))
    model = VideoSwin(arch=arch, patch_size=(1, 1, 1), window_size=(4, 4, 4), out_indices=0).eval()
    windows, tokens = 2 * 4 * 4, 4**3
    with torch.no_grad(), LargestTensor() as largest:
        model(torch.randn(1, 3, 8, 16, 16))
    assert 0 < largest.elements < windows * 2 * tokens * tokens / 4


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(attention='divided'), "attention='divided'.*'factorized'"),
        (dict(shift='time'), "shift='time'.*'space_time'"),
        (dict(relative_index='wrong'), "relative_index='wrong'"),
        (dict(window_size=7), 'window_size=7'),
        (dict(patch_size=(2, 4)), r'patch_size=\(2, 4\)'),
        (dict(arch=dict(embed_dims=8, depths=(1, 1), num_heads=(2,))), 'differ in length'),
        (dict(arch=dict(embed_dims=8, depths=(1,), num_heads=(3,)), out_indices=0), 'num_heads=3'),
    ],
)
def test_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        VideoSwin(**kwargs)
