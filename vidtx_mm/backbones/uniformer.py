"""UniFormer for clips and images (Li et al., arXiv 2201.04676 and 2201.09450); its blocks stand in
``uniformer_blocks.py``, the light models in ``uniformer_light.py``."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checks import Epsilon, InitCfg, OneOf, Positive, Rate
from ..layers import ODD_SIZES, Attention, Tokenizer, batch_norm, check_input, drop_path_rates
from ..registry import MODELS
from .base import Backbone, resolve_arch
from .uniformer_blocks import (
    NORMS,
    AttentionBlock,
    GlobalBlock,
    LocalBlock,
    SplitBlock,
    WindowBlock,
    conv_embeds,
    count_heads,
    patch_embeds,
)

BuildBlock = Callable[..., AttentionBlock]

STAGES = 4
LOCAL_STAGES = 2  # the first two stages relate tokens by convolution, the others by attention
_SMALL: dict[str, Any] = dict(depths=(3, 4, 8, 3), embed_dims=(64, 128, 320, 512), head_dim=64, mlp_ratio=4.0)
_BASE: dict[str, Any] = dict(_SMALL, depths=(5, 8, 20, 7))
VIDEO_ARCHS: dict[str, dict[str, Any]] = {'small': _SMALL, 'base': _BASE}
IMAGE_ARCHS: dict[str, dict[str, Any]] = {
    'small': _SMALL,
    'small-plus': dict(_SMALL, depths=(3, 5, 9, 3), head_dim=32, conv_stem=True),
    'base': _BASE,
    'base-ls': dict(_BASE, layer_scale=1e-6),
    'large-ls': dict(_BASE, depths=(5, 10, 24, 7), embed_dims=(128, 192, 448, 640), layer_scale=1e-6),
}
OPTIONAL = dict(conv_stem=True, layer_scale=1e-6)  # keys that the dict of an arch may leave out
ATTENTIONS = ('joint', 'split')
# Whether block i of stage 3 attends to the whole map (UniFormer, object_detection/mmdet/models/backbones/uniformer.py).
STAGE3: dict[str, Callable[[int], bool]] = {
    'global': lambda index: True,
    'window': lambda index: False,
    'hybrid': lambda index: index % 4 == 3,
}


def resolve_uniformer(
    arch: str | Mapping[str, Any], archs: Mapping[str, Mapping[str, Any]], optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the sizes of an arch, checked to have one entry per stage."""
    settings = resolve_arch(arch, archs, optional)
    depths, dims = tuple(settings['depths']), tuple(settings['embed_dims'])
    if not len(dims) == len(depths) == STAGES:
        raise ValueError(f'arch: give {STAGES} depths and embed_dims, got {depths} and {dims}')
    return settings


def image_outputs(out_indices: Sequence[int] | int | None, final_norm: bool) -> Sequence[int] | int:
    """Return the stages that an image model returns: by default all, with ``final_norm`` the last and no other."""
    last = STAGES - 1
    if final_norm and out_indices not in (None, last, -1, (last,), [last]):
        raise ValueError(f'final_norm=True returns the last map only, got out_indices={out_indices}')
    if out_indices is None:
        return last if final_norm else tuple(range(STAGES))
    return out_indices


def build_attention(settings: Mapping[str, Any], stage: int) -> Attention:
    """Return the attention of a block of a stage."""
    dim = settings['embed_dims'][stage]
    return Attention(dim, count_heads(dim, settings['head_dim']))


def down_samplings(
    settings: Mapping[str, Any], in_channels: int, ndim: int, odd_size: str, norm_eps: float
) -> list[nn.Module]:
    """Return the four down-samplings of an arch."""
    if settings.get('conv_stem', False):
        return conv_embeds(in_channels, settings['embed_dims'], ndim)
    return patch_embeds(in_channels, settings['embed_dims'], ndim, odd_size, norm_eps)


class UniFormer(Backbone):
    """The base of the video and image models: four stages, each a down-sampling and its blocks.

    Args:
        settings: sizes of the arch.
        embeds: the four down-samplings.
        attention_block: builds block (stage, index) of the last two stages, from its further arguments.
        local_scale: layer scale of the local blocks.
        final_norm: end in the BatchNorm of classifiers instead of a LayerNorm for each output.
    """

    family = 'uniformer'
    _warned = False

    def __init__(
        self,
        settings: Mapping[str, Any],
        embeds: Sequence[nn.Module],
        attention_block: Callable[[int, int], BuildBlock],
        in_channels: int,
        drop_path_rate: float,
        norm_eps: float,
        final_norm: bool,
        out_indices: Sequence[int] | int,
        norm_eval: bool,
        frozen_stages: int,
        with_cp: bool | Sequence[int],
        init_cfg: dict | list[dict] | None,
        local_scale: float = 0.0,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        dims, self.depths, self.head_dim = settings['embed_dims'], tuple(settings['depths']), settings['head_dim']
        self.in_channels, self.norm_eval = in_channels, norm_eval
        frames = 2 if self.ndim == 3 else 1
        self._set_outputs(out_indices, dims, [(frames, 4 * 2**i, 4 * 2**i) for i in range(STAGES)])
        common: dict[str, Any] = dict(ndim=self.ndim, mlp_ratio=settings['mlp_ratio'])
        attention = dict(norm_eps=norm_eps, layer_scale=settings.get('layer_scale', 0.0))
        rates = iter(drop_path_rates(drop_path_rate, sum(self.depths)))
        for stage, (dim, embed) in enumerate(zip(dims, embeds, strict=True)):
            blocks = nn.ModuleList()
            for index in range(self.depths[stage]):
                if stage < LOCAL_STAGES:
                    blocks.append(LocalBlock(dim, drop_path=next(rates), layer_scale=local_scale, **common))
                else:
                    build = attention_block(stage, index)
                    blocks.append(build(dim=dim, drop_path=next(rates), **attention, **common))
            self.add_module(f'patch_embed{stage + 1}', embed)
            self.add_module(f'blocks{stage + 1}', blocks)
        if final_norm:
            self.norm = NORMS[self.ndim](dims[-1])
        else:
            for stage in self.out_indices:
                self.add_module(f'norm{stage + 1}', nn.LayerNorm(dims[stage], norm_eps))
        self._finish()

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        check_input(x, self.in_channels, self.ndim)
        self._check_size(x)
        outputs = []
        for stage in range(self.out_indices[-1] + 1):
            x = self.get_submodule(f'patch_embed{stage + 1}')(x)  # (B, *grid, C)
            for index, block in enumerate(self._blocks(stage)):
                x = self._run(block, x, stage, index)  # (B, *grid, C)
            if stage in self.out_indices:
                outputs.append(self._output(x, stage))
            x = x.movedim(-1, 1)  # (B, C, *grid)
        return self._pack(outputs)

    def _blocks(self, stage: int) -> nn.ModuleList:
        blocks = self.get_submodule(f'blocks{stage + 1}')
        assert isinstance(blocks, nn.ModuleList)
        return blocks

    def _output(self, x: Tensor, stage: int) -> Tensor:
        """Return the (B, C, *grid) output of a stage from its (B, *grid, C) map, after its norm if it has one."""
        norms = dict(self.named_children())
        if f'norm{stage + 1}' in norms:
            x = norms[f'norm{stage + 1}'](x)
        elif stage == STAGES - 1:
            x = batch_norm(self.norm, x)
        return x.movedim(-1, 1).contiguous()

    def _check_size(self, x: Tensor) -> None:
        """With odd_size='floor', raise if no token would be left, and warn once if pixels are dropped."""
        if torch.compiler.is_compiling():
            return
        embeds = [getattr(self, f'patch_embed{stage + 1}') for stage in range(self.out_indices[-1] + 1)]
        floored = prod(e.stride[-1] for e in embeds if isinstance(e, Tokenizer) and e.odd_size == 'floor')
        if floored == 1:
            return
        stride = self.out_strides[-1][-1]
        cell = stride // floored  # convolutions round up to so many pixels before anything is dropped
        height, width = x.shape[-2:]
        rows, columns = (-(-size // cell) for size in (height, width))
        if min(rows, columns) < floored:
            least = stride - cell + 1
            raise ValueError(
                f'the input is {height} x {width} (H x W), but the last stage needs at least {least} x {least}: '
                "give a larger input, or set odd_size='pad'"
            )
        rows, columns = rows % floored * cell, columns % floored * cell
        if (rows or columns) and not self._warned:
            self._warned = True
            warnings.warn(
                f'input {height} x {width} (H x W) is not a multiple of {stride}: the last map drops {rows} rows at '
                f"the bottom and {columns} columns at the right; set odd_size='pad' to keep them",
                stacklevel=3,
            )

    def stage_modules(self) -> list[list[nn.Module]]:
        def of(stage: int) -> list[nn.Module]:
            return [getattr(self, f'{part}{stage}') for part in ('patch_embed', 'blocks')]

        return [[self.patch_embed1], *[of(stage) for stage in range(1, STAGES + 1)]]

    def layer_depth(self, name: str) -> tuple[int, int]:
        total = sum(self.depths) + 1
        parts = name.split('.')
        if not parts[0].startswith(('patch_embed', 'blocks')):
            return total - 1, total
        before = sum(self.depths[: int(parts[0][-1]) - 1])
        return (before + int(parts[1]) + 1 if parts[0].startswith('blocks') else before), total

    def train(self, mode: bool = True) -> 'UniFormer':
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


@MODELS.register_module()
class VideoUniFormer(UniFormer):
    """UniFormer for clips: (B, C, T, H, W) to feature maps (B, C', T', H', W').

    The strides are (2, 4, 4), (2, 8, 8), (2, 16, 16) and (2, 32, 32). Any T works; see ``odd_size`` for H and W.

    Args:
        arch: 'small', 'base', or a dict of depths, embed_dims, head_dim, mlp_ratio and optionally conv_stem and
            layer_scale, as in :class:`ImageUniFormer`; neither was published for clips, and with layer scale the
            authors' training sometimes failed to converge (Sense-X/UniFormer issue 12). Weights do not show head_dim.
        attention: attention of the last two stages: 'joint' among all tokens, or 'split' over time and then over space
            (``SplitBlock``; no published weights).
        odd_size: treatment of a height or width that the stride does not divide. 'floor' drops the remainder at the
            bottom and right, as published, with a warning; 'pad' zero-pads.
        norm_eps: epsilon of the LayerNorms of the blocks.
        patch_norm_eps: epsilon of the LayerNorms of the down-samplings.
        out_indices: the stages to return, from 0; the last one after its BatchNorm, the others as they are.
        norm_eval: keep all BatchNorms in eval mode.
        frozen_stages: -1 for none, 0 the first down-sampling, n the first n stages.
        with_cp: recompute activations in the backward pass, in all blocks or in the first n of each stage.

    Source: the papers, and Sense-X/UniFormer, video_classification/slowfast/models/uniformer.py.
    """

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'small',
        in_channels: Positive = 3,
        attention: Annotated[str, OneOf(ATTENTIONS)] = 'joint',
        drop_path_rate: Rate = 0.1,
        odd_size: Annotated[str, OneOf(ODD_SIZES)] = 'floor',
        norm_eps: Epsilon = 1e-6,
        patch_norm_eps: Epsilon = 1e-5,
        out_indices: Sequence[int] | int = (3,),
        norm_eval: bool = False,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        settings = resolve_uniformer(arch, VIDEO_ARCHS, OPTIONAL)

        def attention_block(stage: int, index: int) -> BuildBlock:
            attn = build_attention(settings, stage)
            if attention == 'joint':
                return partial(GlobalBlock, attn=attn)
            return partial(SplitBlock, attn=attn, t_attn=build_attention(settings, stage))

        super().__init__(
            settings,
            down_samplings(settings, in_channels, 3, odd_size, patch_norm_eps),
            attention_block,
            in_channels,
            drop_path_rate,
            norm_eps,
            final_norm=True,
            out_indices=out_indices,
            norm_eval=norm_eval,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
        self.attention = attention


@MODELS.register_module()
class ImageUniFormer(UniFormer):
    """UniFormer for images: (B, C, H, W) to feature maps of strides 4, 8, 16 and 32, for detection and pose; or, with
    ``final_norm``, to the last map alone, for classification.

    Args:
        arch: 'small', 'small-plus' (overlapping down-samplings), 'base', 'base-ls', 'large-ls' (with layer scale), or a
            dict of depths, embed_dims, head_dim, mlp_ratio and optionally conv_stem and layer_scale (the initial
            value). Weights do not show head_dim.
        stage3: range of the attention in the third stage: the whole map ('global'), windows of ``window_size``
            ('window'), or windows and in every fourth block the whole map ('hybrid', as published for detection).
        final_norm: end in the BatchNorm of the ImageNet models and return the last map, instead of a LayerNorm for each
            output.
        out_indices: the stages to return, from 0; by default all four, or the last with ``final_norm``.
        odd_size, norm_eps, patch_norm_eps, norm_eval, frozen_stages, with_cp: as in :class:`VideoUniFormer`.
            ``odd_size`` has no effect on conv_stem, which rounds sizes up.

    Source: the papers, and Sense-X/UniFormer, image_classification/models/uniformer.py and
    object_detection/mmdet/models/backbones/uniformer.py.
    """

    ndim = 2

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'small',
        in_channels: Positive = 3,
        stage3: Annotated[str, OneOf(STAGE3)] = 'global',
        window_size: Positive = 14,
        drop_path_rate: Rate = 0.1,
        odd_size: Annotated[str, OneOf(ODD_SIZES)] = 'floor',
        norm_eps: Epsilon = 1e-6,
        patch_norm_eps: Epsilon = 1e-5,
        final_norm: bool = False,
        out_indices: Sequence[int] | int | None = None,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        settings = resolve_uniformer(arch, IMAGE_ARCHS, OPTIONAL)
        whole_map = STAGE3[stage3]

        def attention_block(stage: int, index: int) -> BuildBlock:
            attn = build_attention(settings, stage)
            if stage != LOCAL_STAGES or whole_map(index):
                return partial(GlobalBlock, attn=attn)
            return partial(WindowBlock, attn=attn, window_size=window_size)

        super().__init__(
            settings,
            down_samplings(settings, in_channels, 2, odd_size, patch_norm_eps),
            attention_block,
            in_channels,
            drop_path_rate,
            norm_eps,
            final_norm=final_norm,
            out_indices=image_outputs(out_indices, final_norm),
            norm_eval=norm_eval,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
