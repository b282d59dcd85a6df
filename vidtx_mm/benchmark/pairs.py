"""Table of compared models: how to build, call and compare each.

To add a pair, add a row to ``PAIRS``. Builders are module-level functions, since child processes import them by name.
They import the package of the reference, so that a missing package affects its own rows alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

from torch import Tensor, nn


def call_model(model: nn.Module, clips: Tensor) -> Any:
    """Call a model on clips (B, 3, T, H, W)."""
    return model(clips)


def whole_output(output: Any) -> Tensor:
    """Return the output unchanged."""
    return output


@dataclass(frozen=True)
class Side:
    """One model of a pair.

    ``imports`` are loaded before the idle memory is measured, so that the peak does not include them. ``output``
    selects the tensor to compare from the result of ``call``; the training step computes its loss from it.
    """

    build: Callable[[], nn.Module]
    imports: tuple[str, ...] = ()
    call: Callable[[nn.Module, Tensor], Any] = call_model
    output: Callable[[Any], Tensor] = whole_output


@dataclass(frozen=True)
class Pair:
    """One of our models, its reference (or None) and the clip size of the published numbers.

    ``load`` holds arguments of :func:`vidtx_mm.weights.load_pretrained`, which loads the state dict of the reference
    into our model.
    """

    ours: Side
    reference: Side | None
    frames: int
    size: int
    load: dict[str, Any] = field(default_factory=dict)

    def alone(self) -> 'Pair':
        """Return the pair without its reference."""
        return replace(self, reference=None)


def build_backbone(name: str, **kwargs: Any) -> nn.Module:
    """Build one of our backbones by its class name."""
    return getattr(import_module('vidtx_mm.backbones'), name)(**kwargs)


def build_mmaction(module: str, name: str, **kwargs: Any) -> nn.Module:
    """Build a backbone of MMAction2 with the initialization of its constructor."""
    return getattr(import_module(f'mmaction.models.backbones.{module}'), name)(**kwargs)


def _ours(name: str, **kwargs: Any) -> Side:
    return Side(partial(build_backbone, name, **kwargs), imports=('vidtx_mm.backbones', 'vidtx_mm.weights'))


def _mmaction(module: str, name: str, **kwargs: Any) -> Side:
    return Side(partial(build_mmaction, module, name, **kwargs), imports=('mmaction.models',))


def _swin3d(arch: str, window_size: tuple[int, int, int] = (8, 7, 7)) -> Pair:
    kwargs = dict(arch=arch, window_size=window_size, drop_path_rate=0.0)
    # On clips below 224 pixels windows are clipped; MMAction2 indexes their biases like the official code.
    ours = _ours('VideoSwin', relative_index='upstream', **kwargs)
    return Pair(ours, _mmaction('swin', 'SwinTransformer3D', **kwargs), frames=32, size=224)


def _uniformer(arch: str, depths: list[int], frames: int) -> Pair:
    # The LayerNorm epsilon of MMAction2's blocks differs from that of the published models.
    ours = _ours('VideoUniFormer', arch=arch, drop_path_rate=0.0, norm_eps=1e-5)
    reference = _mmaction('uniformer', 'UniFormer', depth=depths, drop_path_rate=0.0, pretrained2d=False)
    return Pair(ours, reference, frames=frames, size=224)


def build_mmaction_timesformer(frames: int) -> nn.Module:
    """Build MMAction2's divided TimeSformer-B without its stochastic depth, which is no constructor argument."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmaction'):
        model = build_mmaction('timesformer', 'TimeSformer', num_frames=frames, img_size=224, patch_size=16)
    module: Any
    for module in model.modules():
        if type(module).__name__ == 'DropPath':
            module.drop_prob = 0.0
    return model


def build_transformers_timesformer(frames: int) -> nn.Module:
    """Build the divided TimeSformer-B of transformers."""
    from transformers import TimesformerConfig, TimesformerModel

    return TimesformerModel(TimesformerConfig(num_frames=frames))


def call_frames_first(model: nn.Module, clips: Tensor) -> Any:
    """Call a model on clips (B, T, 3, H, W)."""
    return model(clips.transpose(1, 2))


def class_token(output: Any) -> Tensor:
    """Return the first token of the last hidden state of transformers."""
    return output.last_hidden_state[:, 0]


def _timesformer(reference: Side, frames: int = 8) -> Pair:
    return Pair(_ours('VideoTimeSformer', drop_path_rate=0.0, num_frames=frames), reference, frames=frames, size=224)


def _timesformer_mmaction(frames: int = 8) -> Pair:
    return _timesformer(Side(partial(build_mmaction_timesformer, frames), imports=('mmaction.models',)), frames)


def _timesformer_transformers() -> Pair:
    build = partial(build_transformers_timesformer, 8)
    imports = ('transformers.models.timesformer.modeling_timesformer',)
    return _timesformer(Side(build, imports, call=call_frames_first, output=class_token))


def build_transformers_vivit() -> nn.Module:
    """Build the ViViT-B/16x2 of transformers with fused attention and without pooler, which its classifier ignores."""
    from transformers import VivitConfig, VivitModel

    config = VivitConfig()
    config._attn_implementation = 'sdpa'
    return VivitModel(config, add_pooling_layer=False)


def _vivit() -> Pair:
    imports = ('transformers.models.vivit.modeling_vivit',)
    reference = Side(build_transformers_vivit, imports, call=call_frames_first, output=class_token)
    return Pair(_ours('ViViT'), reference, frames=32, size=224)


def _vivit_alone(**kwargs: Any) -> Pair:
    return Pair(_ours('ViViT', **kwargs), None, frames=32, size=224)


# All rows disable stochastic depth and dropout, so that both sides do the same work in the training step.
PAIRS: dict[str, Pair] = {
    'swin3d_t': _swin3d('tiny'),
    'swin3d_s': _swin3d('small'),
    'swin3d_b': _swin3d('base'),
    'swin3d_b_w1677': _swin3d('base', window_size=(16, 7, 7)),
    'uniformer_s': _uniformer('small', [3, 4, 8, 3], frames=16),
    'uniformer_b': _uniformer('base', [5, 8, 20, 7], frames=16),
    'timesformer': _timesformer_mmaction(),
    'timesformer_l': _timesformer_mmaction(96),
    'timesformer_transformers': _timesformer_transformers(),
    'vivit_b': _vivit(),
    'vivit_b_fe': _vivit_alone(attention='factorized_encoder'),
    'vivit_b_fsa': _vivit_alone(attention='factorized_self_attention', pool='avg'),
    'vivit_b_fdp': _vivit_alone(attention='factorized_dot_product', pool='avg'),
}
