"""Count parameters and multiply-adds of a model or a config on the meta device, without computing anything."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from .pairs import Side
from .worker import Settings

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Complexity:
    """Numbers of parameters and of multiply-adds (``macs``) in matrix products, attention and convolutions.

    The papers call these multiply-adds FLOPs; like them, this leaves out norms, activations and additions.
    """

    parameters: int
    macs: int


def count(model: nn.Module, shape: Shape, call: Callable[[nn.Module, Tensor], Any] | None = None) -> Complexity:
    """Count one forward pass of a model on the meta device, in eval mode, with an input of ``shape``.

    On the meta device PyTorch does not fuse attention, so that both of its products are counted.
    """
    model.eval().requires_grad_(False)  # training may take other kernels, which are not counted
    clips = torch.empty(shape, device='meta')
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(clips) if call is None else call(model, clips)
    return Complexity(sum(p.numel() for p in model.parameters()), counter.get_total_flops() // 2)


def flops(side: Side, settings: Settings) -> int:
    """Count the floating-point operations of a forward pass or a training step of one side of a pair.

    The backward pass has two matrix products for each one of the forward pass.
    """
    with torch.device('meta'):
        model = side.build()
    macs = count(model, (1, 3, settings.frames, settings.size, settings.size), side.call).macs
    return 2 * macs * settings.batch * (3 if settings.mode == 'train' else 1)


def count_config(cfg: Config, shape: Shape | None = None) -> Complexity:
    """Count backbone and head of a recognizer config on one view (3, T, H, W), by default that of the test pipeline."""
    return count(build_on_meta(cfg), (1, 1, *(shape or view_shape(cfg))), call=_classify)


def build_on_meta(cfg: Config) -> nn.Module:
    """Build the model of a config on the meta device, in the config's default scope.

    The data preprocessor is left out: it has no weights, and MixUp's distribution does not build on the meta device.
    """
    model = {**cfg.model, 'data_preprocessor': None}
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        return MODELS.build(model)


def view_shape(cfg: Config) -> Shape:
    """Return (3, T, H, W) of one view, from ``clip_len`` and ``crop_size`` in the test pipeline."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    frames = next((step['clip_len'] for step in pipeline if 'clip_len' in step), None)
    side = next((step['crop_size'] for step in pipeline if 'crop_size' in step), None)
    if frames is None or side is None:
        raise ValueError(f'{cfg.filename}: no clip_len or crop_size in the test pipeline; give the shape (3, T, H, W)')
    height, width = (side, side) if isinstance(side, int) else side
    return (3, frames, height, width)


def _classify(model: nn.Module, clips: Tensor) -> Any:
    return model(clips, stage='head')
