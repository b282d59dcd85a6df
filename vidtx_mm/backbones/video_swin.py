"""Video Swin Transformer (Liu et al., arXiv 2106.13230)."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ..checks import InitCfg, OneOf, Positive, Rate, Ratio, Size3
from ..layers import (
    DropPath,
    Mlp,
    PatchMerging,
    QkvProjection,
    Tokenizer,
    Window,
    WindowLayout,
    biased_attention,
    drop_path_rates,
)
from ..registry import MODELS
from .base import Backbone, resolve_arch, triple

ARCHS: dict[str, dict[str, Any]] = {
    'tiny': dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    'small': dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    'base': dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    'large': dict(embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
}
# Which axes (t, h, w) alternate blocks shift by half a window.
SHIFTS = {'space_time': (1, 1, 1), 'space': (0, 1, 1), 'none': (0, 0, 0)}
ATTENTIONS = ('joint', 'split', 'factorized')
RELATIVE_INDICES = ('exact', 'upstream')


class WindowAttention(QkvProjection):
    """Attention within windows with a learned bias per relative offset (section 3.2)."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        window_size: tuple[int, int, int],
        qkv_bias: bool = True,
        relative_index: str = 'exact',
    ) -> None:
        super().__init__(dim, num_heads, qkv_bias)
        self.window_size = window_size
        self.relative_index = relative_index
        offsets = prod(2 * side - 1 for side in window_size)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(offsets, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def bias(self, size: tuple[int, int, int]) -> Tensor:
        """Return the (heads, N, N) bias of windows of ``size``, which may be clipped.

        The rows of the relative position bias table are offsets (t, h, w), query minus key, from -(window - 1) up. The
        official code looks up a clipped window at the first N x N entries of the full window's index
        (Video-Swin-Transformer, swin_transformer.py, WindowAttention3D.forward), which are other offsets when height or
        width is clipped; 'upstream' does so too.
        """
        if self.relative_index == 'upstream':
            tokens = size[0] * size[1] * size[2]
            return self._offsets_to_pairs(self.window_size)[:, :tokens, :tokens]
        return self._offsets_to_pairs(size)

    def _offsets_to_pairs(self, size: tuple[int, int, int]) -> Tensor:
        offsets = self.relative_position_bias_table.t().unflatten(1, [2 * side - 1 for side in self.window_size])
        for axis, (full, clipped) in enumerate(zip(self.window_size, size, strict=True), 1):
            offsets = offsets.narrow(axis, full - clipped, 2 * clipped - 1).unfold(axis, clipped, 1)
        # offsets: (heads, query t, h, w, reversed key t, h, w)
        return offsets.flip(4, 5, 6).reshape(self.num_heads, *[size[0] * size[1] * size[2]] * 2)

    def forward(self, x: Tensor, layout: WindowLayout) -> Tensor:
        attended = biased_attention(*self.split_heads(x), self.bias(layout.size), layout.groups)  # (G, heads, N, D)
        return self.join_heads(attended)  # (G, N, C)


class SwinBlock(nn.Module):
    """Pre-norm block: window attention, then MLP, each with a residual; (B, T, H, W, C) -> the same."""

    def __init__(self, dim: int, window: Window, attn: WindowAttention, mlp_ratio: float, drop_path: float) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(dim)
        self.attn = attn
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def attend(self, x: Tensor) -> Tensor:
        groups, layout = self.window.split(self.norm1(x))  # (G, N, C)
        return x + self.drop_path(self.window.merge(self.attn(groups, layout), layout))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attend(x)  # (B, T, H, W, C)
        return x + self.drop_path(self.mlp(self.norm2(x)))  # (B, T, H, W, C)


class FactorizedSwinBlock(SwinBlock):
    """Spatial window attention, temporal window attention weighted by a learned scalar that starts at zero, then MLP
    (the paper's 'factorized' design, section 4.3)."""

    def __init__(
        self,
        dim: int,
        window: Window,
        attn: WindowAttention,
        temporal_window: Window,
        temporal_attn: WindowAttention,
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__(dim, window, attn, mlp_ratio, drop_path)
        self.temporal_window = temporal_window
        self.temporal_norm = nn.LayerNorm(dim)
        self.temporal_attn = temporal_attn
        self.temporal_scale = nn.Parameter(torch.zeros(1))

    def attend(self, x: Tensor) -> Tensor:
        x = super().attend(x)  # (B, T, H, W, C)
        groups, layout = self.temporal_window.split(self.temporal_norm(x))  # (G, N, C)
        temporal = self.temporal_window.merge(self.temporal_attn(groups, layout), layout)
        return x + self.drop_path(self.temporal_scale * temporal)


class SwinStage(nn.Module):
    """The blocks of a stage and, except in the last one, the patch merging after them."""

    def __init__(self, blocks: Sequence[nn.Module], downsample: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


@MODELS.register_module()
class VideoSwin(Backbone):
    """Video Swin Transformer: (B, C, T, H, W) clips to (B, C', T', H', W') feature maps.

    With the default patch size, stage i (from 0) has stride (2, 4 * 2**i, 4 * 2**i) and embed_dims * 2**i channels. Any
    T, H and W work: the end is zero-padded to whole patches and windows, and windows never exceed the grid.

    Args:
        arch: 'tiny', 'small', 'base', 'large', or a dict of embed_dims, depths and num_heads.
        patch_size: (t, h, w) of a token in frames and pixels.
        window_size: (t, h, w) of an attention window in tokens.
        attention: the paper's three designs (section 4.3, table 4). 'joint': space-time windows; 'split': spatial
            windows and two temporal layers on top; 'factorized': a temporal attention after each spatial one. The
            temporal attentions of the last two work in windows of ``window_size[0]`` frames at one place.
        shift: the axes on which every second block shifts its windows by half: 'space_time', 'space' or 'none'.
        relative_index: 'exact' uses the offsets of the tokens that a clipped window holds; 'upstream' reproduces the
            official code for inputs whose height or width is below a window (see ``WindowAttention.bias``).
        out_indices: the stages to return, each after its LayerNorm.
        frozen_stages: -1 for none, 0 the tokenizer, n the tokenizer and the first n stages.
        with_cp: recompute activations in the backward pass, in all blocks or in the first n of each stage.

    Source: the paper, and SwinTransformer/Video-Swin-Transformer, mmaction/models/backbones/swin_transformer.py.
    """

    family = 'video_swin'

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'tiny',
        in_channels: Positive = 3,
        patch_size: Size3 = (2, 4, 4),
        window_size: Size3 = (8, 7, 7),
        mlp_ratio: Ratio = 4.0,
        qkv_bias: bool = True,
        patch_norm: bool = True,
        drop_path_rate: Rate = 0.1,
        attention: Annotated[str, OneOf(ATTENTIONS)] = 'joint',
        shift: Annotated[str, OneOf(SHIFTS)] = 'space_time',
        relative_index: Annotated[str, OneOf(RELATIVE_INDICES)] = 'exact',
        out_indices: Sequence[int] | int = (3,),
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        settings = resolve_arch(arch, ARCHS)
        self.patch_size = triple(patch_size)
        self.window_size = triple(window_size)
        self.attention = attention
        shifted_axes = SHIFTS[shift]
        self.depths = tuple(settings['depths'])
        heads = settings['num_heads']
        if len(heads) != len(self.depths):
            raise ValueError(f'arch: depths={self.depths} and num_heads={tuple(heads)} differ in length')
        dims = [settings['embed_dims'] * 2**stage for stage in range(len(self.depths))]
        t, h, w = self.patch_size
        strides = [(t, h * 2**stage, w * 2**stage) for stage in range(len(dims))]
        self._set_outputs(out_indices, dims, strides)

        self.patch_embed = Tokenizer(
            in_channels, dims[0], self.patch_size, norm=nn.LayerNorm(dims[0]) if patch_norm else None
        )
        frames = self.window_size[0]
        size = self.window_size if attention == 'joint' else (1, *self.window_size[1:])
        temporal_size = (frames, 1, 1)
        shift_size = tuple(side // 2 * on for side, on in zip(size, shifted_axes, strict=True))
        # Every second block shifts its windows.
        windows = [Window(size), Window(size, shift_size)]
        temporal_windows = [Window(temporal_size), Window(temporal_size, (frames // 2 * shifted_axes[0], 0, 0))]

        def attn(stage: int, size: tuple[int, int, int], relative_index: str = relative_index) -> WindowAttention:
            return WindowAttention(dims[stage], heads[stage], size, qkv_bias, relative_index)

        def build_block(stage: int, index: int, rate: float) -> SwinBlock:
            spatial = windows[index % 2], attn(stage, size)
            if attention != 'factorized':
                return SwinBlock(dims[stage], *spatial, mlp_ratio, rate)
            temporal = temporal_windows[index % 2], attn(stage, temporal_size, 'exact')
            return FactorizedSwinBlock(dims[stage], *spatial, *temporal, mlp_ratio, rate)

        rates = iter(drop_path_rates(drop_path_rate, sum(self.depths)))
        self.layers = nn.ModuleList()
        for stage, (dim, depth) in enumerate(zip(dims, self.depths, strict=True)):
            blocks = [build_block(stage, index, next(rates)) for index in range(depth)]
            self.layers.append(SwinStage(blocks, nn.Identity() if stage == len(dims) - 1 else PatchMerging(dim)))
        if attention == 'split':
            self.temporal = nn.ModuleList(
                SwinBlock(dims[-1], window, attn(-1, temporal_size), mlp_ratio, drop_path_rate)
                for window in temporal_windows
            )
        for stage in self.out_indices:
            self.add_module(self._norm_name(stage), nn.LayerNorm(dims[stage]))
        self._finish()

    def _norm_name(self, stage: int) -> str:
        """Return the name of the norm after a stage; the last one has the official name."""
        return 'norm' if stage == len(self.depths) - 1 else f'norm{stage}'

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x = self.patch_embed(x)  # (B, T, H, W, C)
        outputs = []
        for index, stage in enumerate(self.layers[: self.out_indices[-1] + 1]):
            assert isinstance(stage, SwinStage)
            for block_index, block in enumerate(stage.blocks):
                x = self._run(block, x, index, block_index)  # (B, T, H, W, C)
            if self.attention == 'split' and index == len(self.layers) - 1:
                for block in self.temporal:
                    x = block(x)
            if index in self.out_indices:
                outputs.append(getattr(self, self._norm_name(index))(x).movedim(-1, 1).contiguous())  # (B, C, T, H, W)
            if index < self.out_indices[-1]:
                x = stage.downsample(x)  # (B, T, H / 2, W / 2, 2 * C)
        return self._pack(outputs)

    def stage_modules(self) -> list[list[nn.Module]]:
        return [[self.patch_embed], *[[stage] for stage in self.layers]]

    def no_weight_decay(self) -> set[str]:
        spared = ('relative_position_bias_table', 'temporal_scale')
        return {name for name, _ in self.named_parameters() if name.endswith(spared)}

    def layer_depth(self, name: str) -> tuple[int, int]:
        total = sum(self.depths) + 1
        parts = name.split('.')
        if parts[0] == 'patch_embed':
            return 0, total
        if parts[0] != 'layers':
            return total - 1, total
        before = sum(self.depths[: int(parts[1])])
        return (before + int(parts[3]) + 1 if parts[2] == 'blocks' else before + self.depths[int(parts[1])]), total
