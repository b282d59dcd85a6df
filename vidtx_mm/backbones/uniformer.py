"""UniFormer for clips and images (Li et al., arXiv 2201.04676 and 2201.09450)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..checks import choose
from ..registry import MODELS
from .uniformer_base import BuildBlock, UniFormer
from .uniformer_blocks import GlobalBlock, SplitBlock, WindowBlock

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
OPTIONAL = ('conv_stem', 'layer_scale')  # what a dict may have, besides what it must
ATTENTIONS: dict[str, type[GlobalBlock]] = {'joint': GlobalBlock, 'split': SplitBlock}
# Whether block i of stage 3 sees the whole map (UniFormer, object_detection/mmdet/models/backbones/uniformer.py).
STAGE3: dict[str, Callable[[int], bool]] = {
    'global': lambda index: True,
    'window': lambda index: False,
    'hybrid': lambda index: index % 4 == 3,
}


@MODELS.register_module()
class VideoUniFormer(UniFormer):
    """UniFormer for clips: (B, C, T, H, W) to feature maps (B, C', T', H', W').

    The strides are (2, 4, 4), (2, 8, 8), (2, 16, 16) and (2, 32, 32). Any T works; see ``odd_size`` for H and W.

    Args:
        arch: 'small', 'base', or a dict of depths, embed_dims, head_dim, mlp_ratio and, if wanted, conv_stem and
            layer_scale, as in :class:`ImageUniFormer`; neither was published for clips, and with layer scale the
            authors' training sometimes failed to converge (issue 12 there). The weights do not show head_dim.
        attention: in the last two stages. 'joint': among all tokens; 'split': over time, then over space (unpublished
            weights; ``SplitBlock``).
        odd_size: what becomes of a height or width that the stride does not divide. 'floor' drops the remainder at the
            bottom and right, as published, with a warning; 'pad' zero-pads.
        norm_eps: of the blocks' LayerNorms; ``patch_norm_eps`` of those of the down-samplings.
        out_indices: the stages to return, from 0; the last one after its BatchNorm, the others as they are.
        norm_eval: keep all BatchNorms in eval mode.
        frozen_stages: -1 for none, 0 the first down-sampling, n the first n stages.
        with_cp: recompute activations in the backward pass, in all blocks or in the first n of each stage.

    Source: the papers, and Sense-X/UniFormer, video_classification/slowfast/models/uniformer.py.
    """

    ndim = 3

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'small',
        in_channels: int = 3,
        attention: str = 'joint',
        drop_path_rate: float = 0.1,
        odd_size: str = 'floor',
        norm_eps: float = 1e-6,
        patch_norm_eps: float = 1e-5,
        out_indices: Sequence[int] | int = (3,),
        norm_eval: bool = False,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        settings = self._resolve(arch, VIDEO_ARCHS, out_indices, OPTIONAL)
        self.attention = choose('attention', attention, list(ATTENTIONS))
        self.in_channels, self.norm_eval = in_channels, norm_eval
        options = dict(head_dim=self.head_dim, norm_eps=norm_eps, layer_scale=settings.get('layer_scale', 0.0))
        block = partial(ATTENTIONS[attention], **options)
        embeds = self._embeds(settings, odd_size, patch_norm_eps)
        self._build(settings, embeds, lambda stage, index: block, drop_path_rate)
        self._add_norms(settings['embed_dims'], True, norm_eps)
        self._finish()
        for module in self.modules():
            if isinstance(module, SplitBlock):
                module.reset_temporal()


@MODELS.register_module()
class ImageUniFormer(UniFormer):
    """UniFormer for images: (B, C, H, W) to feature maps of strides 4, 8, 16 and 32, for detection and pose; or, with
    ``final_norm``, to the last map alone, for classification.

    Args:
        arch: 'small', 'small-plus' (overlapping down-samplings), 'base', 'base-ls', 'large-ls' (with layer scale), or a
            dict of depths, embed_dims, head_dim, mlp_ratio and, if wanted, conv_stem and layer_scale (the initial
            value). The weights do not show head_dim.
        stage3: what the attention of the third stage sees. 'global': the whole map; 'window': windows of
            ``window_size``; 'hybrid': windows, but the whole map in every fourth block (as published for detection).
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
        in_channels: int = 3,
        stage3: str = 'global',
        window_size: int = 14,
        drop_path_rate: float = 0.1,
        odd_size: str = 'floor',
        norm_eps: float = 1e-6,
        patch_norm_eps: float = 1e-5,
        final_norm: bool = False,
        out_indices: Sequence[int] | int | None = None,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        settings = self._resolve(arch, IMAGE_ARCHS, self._choose_outputs(out_indices, final_norm), OPTIONAL)
        self.stage3 = choose('stage3', stage3, list(STAGE3))
        self.in_channels, self.norm_eval = in_channels, norm_eval
        options = dict(head_dim=self.head_dim, norm_eps=norm_eps, layer_scale=settings.get('layer_scale', 0.0))

        def global_block(stage: int, index: int) -> BuildBlock:
            if stage != 2 or STAGE3[stage3](index):
                return partial(GlobalBlock, **options)
            return partial(WindowBlock, window_size=window_size, **options)

        self._build(settings, self._embeds(settings, odd_size, patch_norm_eps), global_block, drop_path_rate)
        self._add_norms(settings['embed_dims'], final_norm, norm_eps)
        self._finish()
