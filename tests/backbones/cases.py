"""Small models of every family, for the tests that all backbones must pass."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A reduced backbone and the input sizes it is tried with; ``pads`` says whether its grid is rounded up."""

    name: str
    type: str
    kwargs: dict[str, Any]
    stages: int
    input: tuple[int, ...] = (4, 32, 32)
    odd_input: tuple[int, ...] = (5, 37, 42)
    extra: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


_SWIN = dict(arch=dict(embed_dims=8, depths=(2, 2), num_heads=(2, 2)), window_size=(2, 3, 3), out_indices=(1,))
_TIMESFORMER = dict(arch=dict(embed_dims=16, depth=2, num_heads=2), img_size=32, patch_size=8, num_frames=4)
_VIVIT = dict(
    arch=dict(embed_dims=16, depth=2, num_heads=2),
    img_size=32,
    tubelet_size=(2, 8, 8),
    num_frames=4,
)
_UNIFORMER = dict(
    arch=dict(depths=(1, 2, 2, 1), embed_dims=(8, 8, 16, 16), head_dim=8, mlp_ratio=2.0), out_indices=(3,)
)
_LIGHT = dict(_UNIFORMER['arch'], depths=(1, 1, 2, 2))
_IMAGE = dict(stages=4, input=(64, 64), odd_input=(67, 75))

CASES = [
    Case('swin-joint', 'VideoSwin', dict(_SWIN), 2),
    Case('swin-split', 'VideoSwin', dict(_SWIN, attention='split'), 2),
    Case('swin-factorized', 'VideoSwin', dict(_SWIN, attention='factorized'), 2),
    Case('timesformer-divided', 'VideoTimeSformer', dict(_TIMESFORMER), 2),
    Case('timesformer-space', 'VideoTimeSformer', dict(_TIMESFORMER, attention='space'), 2),
    Case('timesformer-joint', 'VideoTimeSformer', dict(_TIMESFORMER, attention='joint', pool='avg'), 2),
    Case('timesformer-local-global', 'VideoTimeSformer', dict(_TIMESFORMER, attention='local_global'), 2, (2, 16, 16)),
    Case('timesformer-axial', 'VideoTimeSformer', dict(_TIMESFORMER, attention='axial', pool='none'), 2),
    Case('vivit', 'ViViT', dict(_VIVIT), 2),
    Case('vivit-encoder', 'ViViT', dict(_VIVIT, attention='factorized_encoder', temporal_depth=2), 4),
    Case('vivit-average', 'ViViT', dict(_VIVIT, attention='factorized_encoder', temporal_depth=0, pool='avg'), 2),
    Case('vivit-self-attention', 'ViViT', dict(_VIVIT, attention='factorized_self_attention', pool='none'), 2),
    Case('vivit-dot-product', 'ViViT', dict(_VIVIT, attention='factorized_dot_product', pool='avg'), 2),
    Case('vivit-frames', 'ViViT', dict(_VIVIT, tokens='uniform', drop_path_rate=0.1, drop_path_rescale=False), 2),
    Case('uniformer', 'VideoUniFormer', dict(_UNIFORMER), 4),
    Case('uniformer-split', 'VideoUniFormer', dict(_UNIFORMER, attention='split'), 4),
    Case('uniformer-image', 'ImageUniFormer', dict(_UNIFORMER), **_IMAGE),
    Case('uniformer-hybrid', 'ImageUniFormer', dict(_UNIFORMER, stage3='hybrid', window_size=3), **_IMAGE),
    Case(
        'uniformer-conv-stem',
        'ImageUniFormer',
        dict(_UNIFORMER, arch=dict(_UNIFORMER['arch'], conv_stem=True, layer_scale=1e-6)),
        **_IMAGE,
    ),
    Case('uniformer-light', 'VideoUniFormerLight', dict(_UNIFORMER, arch=_LIGHT), 4),
    Case('uniformer-light-image', 'ImageUniFormerLight', dict(_UNIFORMER, arch=_LIGHT), **_IMAGE),
]
