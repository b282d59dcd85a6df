"""The blocks of UniFormer (Li et al., arXiv 2201.04676 and 2201.09450) on channels-last grids (B, *grid, C).

The grid is (T, H, W) for clips (``ndim=3``) and (H, W) for images (``ndim=2``).
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import (
    CONVS,
    SPACE,
    TIME,
    DepthwiseConv,
    DropPath,
    Mlp,
    PointwiseConv,
    Tokenizer,
    Window,
    batch_norm,
    pad_to_multiple,
)

NORMS: dict[int, type[nn.BatchNorm2d] | type[nn.BatchNorm3d]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
# Per ndim: kernel, stride and padding of the first down-sampling; kernel and stride of the others.
STEMS: dict[int, tuple[tuple[int, ...], ...]] = {
    2: ((4, 4), (4, 4), (0, 0)),
    3: ((3, 4, 4), (2, 4, 4), (1, 0, 0)),
}
DOWNS: dict[int, tuple[int, ...]] = {2: (2, 2), 3: (1, 2, 2)}
# Strides of the two convolutions of a convolution stem.
STEM_STRIDES: dict[int, tuple[tuple[int, ...], ...]] = {2: ((2, 2), (2, 2)), 3: ((1, 2, 2), (2, 2, 2))}


class ConvEmbed(nn.Module):
    """Overlapping 3 x 3 (x 3) convolutions with BatchNorms, and GELUs between them: (B, C, *size) -> (B, *grid, dim).

    ``dims`` are the channels before and after each convolution, ``strides`` has one tuple per convolution. Sizes are
    rounded up.
    """

    def __init__(self, dims: Sequence[int], strides: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        ndim = len(strides[0])
        layers: list[nn.Module] = []
        for (before, after), stride in zip(pairwise(dims), strides, strict=True):
            conv = CONVS[ndim](before, after, 3, stride, 1)  # type: ignore[arg-type]
            layers += [*([nn.GELU()] if layers else []), conv, NORMS[ndim](after)]
        self.proj = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).movedim(1, -1).contiguous()  # (B, *grid, dim)


def patch_embeds(in_channels: int, dims: Sequence[int], ndim: int, odd_size: str, norm_eps: float) -> list[nn.Module]:
    """Return the down-samplings before the stages: patches, then a LayerNorm."""
    options = [STEMS[ndim], *[(DOWNS[ndim], DOWNS[ndim], (0,) * ndim)] * (len(dims) - 1)]
    return [
        Tokenizer(before, after, kernel, stride, padding, nn.LayerNorm(after, norm_eps), odd_size)
        for (before, after), (kernel, stride, padding) in zip(pairwise((in_channels, *dims)), options, strict=True)
    ]


def conv_stem(in_channels: int, dim: int, ndim: int) -> ConvEmbed:
    """Return the first down-sampling of UniFormer-S+ and of the light models."""
    return ConvEmbed((in_channels, dim // 2, dim), STEM_STRIDES[ndim])


def conv_embeds(in_channels: int, dims: Sequence[int], ndim: int) -> list[nn.Module]:
    """Return the down-samplings of UniFormer-S+: overlapping convolutions, each with a BatchNorm.

    S+ was published for images; the strides in time are those of the stem of the light video models.
    """
    return [conv_stem(in_channels, dims[0], ndim), *[ConvEmbed(pair, (DOWNS[ndim],)) for pair in pairwise(dims)]]


class LocalBlock(nn.Module):
    """Dynamic position encoding, local relation, then MLP, on (B, *grid, C) (arXiv 2201.04676 section 3.2).

    The local relation is a depthwise 5 x 5 (x 5) convolution between two pointwise ones; the norms are BatchNorms.
    ``layer_scale`` is the initial weight of the two branches (0 for none; used by light video models only).
    """

    gamma_1: nn.Parameter | None
    gamma_2: nn.Parameter | None

    def __init__(self, dim: int, ndim: int, mlp_ratio: float, drop_path: float, layer_scale: float = 0.0) -> None:
        super().__init__()
        self.pos_embed = DepthwiseConv(dim, (3,) * ndim)
        self.norm1 = NORMS[ndim](dim)
        self.conv1 = PointwiseConv(dim, dim, ndim)
        self.attn = DepthwiseConv(dim, (5,) * ndim)
        self.conv2 = PointwiseConv(dim, dim, ndim)
        self.drop_path = DropPath(drop_path)
        self.norm2 = NORMS[ndim](dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), linear=partial(PointwiseConv, ndim=ndim))
        _add_gammas(self, (1, dim, *[1] * ndim), layer_scale)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)  # (B, *grid, C)
        local = self.conv2(self.attn(self.conv1(batch_norm(self.norm1, x))))  # (B, *grid, C)
        x = x + self.drop_path(scaled(local, self.gamma_1))  # (B, *grid, C)
        return x + self.drop_path(scaled(self.mlp(batch_norm(self.norm2, x)), self.gamma_2))  # (B, *grid, C)


class AttentionBlock(nn.Module):
    """The parts of a block with attention; subclasses write out its ``forward``. The norms are LayerNorms.

    ``layer_scale`` is the initial weight of the two branches (0 for none).
    """

    gamma_1: nn.Parameter | None
    gamma_2: nn.Parameter | None

    def __init__(
        self,
        dim: int,
        ndim: int,
        attn: nn.Module,
        mlp_ratio: float,
        drop_path: float,
        norm_eps: float = 1e-6,
        layer_scale: float = 0.0,
    ) -> None:
        super().__init__()
        self.pos_embed = DepthwiseConv(dim, (3,) * ndim)
        self.norm1 = nn.LayerNorm(dim, norm_eps)
        self.attn = attn
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, norm_eps)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        _add_gammas(self, (dim,), layer_scale)


class GlobalBlock(AttentionBlock):
    """Dynamic position encoding, attention among all tokens, then MLP, on (B, *grid, C)."""

    def attend(self, x: Tensor) -> Tensor:
        return self.attn(x.flatten(1, -2)).view_as(x)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)  # (B, *grid, C)
        x = x + self.drop_path(scaled(self.attend(self.norm1(x)), self.gamma_1))  # (B, *grid, C)
        return x + self.drop_path(scaled(self.mlp(self.norm2(x)), self.gamma_2))  # (B, *grid, C)


class WindowBlock(GlobalBlock):
    """A global block whose attention stays within windows of a (B, H, W, C) map, as in UniFormer's detectors.

    The map is zero-padded to whole windows after the norm, and padded tokens are attended to (as published).
    """

    def __init__(self, window_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.window = Window((1, window_size, window_size))

    def attend(self, x: Tensor) -> Tensor:
        _, height, width, _ = x.shape
        padded = pad_to_multiple(x, self.window.size[1:], first_axis=1).unsqueeze(1)  # (B, 1, H', W', C)
        groups, layout = self.window.split(padded)  # (G, N, C)
        return self.window.merge(self.attn(groups), layout)[:, 0, :height, :width]  # (B, H, W, C)


class SplitBlock(AttentionBlock):
    """Dynamic position encoding, attention over time, attention over space, then MLP, on (B, T, H, W, C).

    The output of the temporal attention reaches the spatial attention only: the residual of the latter is the input of
    the block, as in the official SplitSABlock (video_classification/slowfast/models/uniformer.py).
    """

    def __init__(self, dim: int, t_attn: nn.Module, **kwargs: Any) -> None:
        super().__init__(dim, **kwargs)
        self.t_norm = nn.LayerNorm(dim, self.norm1.eps)
        self.t_attn = t_attn

    def init_branches(self) -> None:
        """Start as published: the temporal attention adds nothing."""
        for name, parameter in self.t_attn.named_parameters():
            nn.init.constant_(parameter, float(name == 'proj.weight'))

    def attend_over_time(self, x: Tensor) -> Tensor:
        groups, layout = TIME.split(x)  # (B * H * W, T, C)
        return TIME.merge(self.t_attn(groups), layout)

    def attend(self, x: Tensor) -> Tensor:
        groups, layout = SPACE.split(x)  # (B * T, H * W, C)
        return SPACE.merge(self.attn(groups), layout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)  # (B, T, H, W, C)
        temporal = x + self.drop_path(self.attend_over_time(self.t_norm(x)))  # (B, T, H, W, C)
        x = x + self.drop_path(scaled(self.attend(self.norm1(temporal)), self.gamma_1))  # (B, T, H, W, C)
        return x + self.drop_path(scaled(self.mlp(self.norm2(x)), self.gamma_2))  # (B, T, H, W, C)


def count_heads(dim: int, head_dim: int) -> int:
    """Return the number of heads of ``head_dim`` channels that make ``dim`` channels."""
    if dim % head_dim:
        raise ValueError(f'arch: head_dim={head_dim} does not divide the {dim} channels of a stage')
    return dim // head_dim


def _add_gammas(block: nn.Module, shape: tuple[int, ...], layer_scale: float) -> None:
    for name in ('gamma_1', 'gamma_2'):
        block.register_parameter(name, nn.Parameter(torch.full(shape, layer_scale)) if layer_scale else None)


def scaled(branch: Tensor, gamma: Tensor | None) -> Tensor:
    """Multiply a branch by its layer scale, if there is one."""
    return branch if gamma is None else gamma.flatten() * branch
