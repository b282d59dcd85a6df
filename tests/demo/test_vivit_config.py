"""The ViViT demo config matches the Swin one in data and steps, for the four models of the paper."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from vidtx_mm.demo.shapes import ShapesSpec
from vidtx_mm.registry import MODELS

DEMO = Path(__file__).resolve().parents[2] / 'configs' / 'demo'


@pytest.mark.parametrize(
    'attention, pool',
    [
        ('factorized_encoder', 'cls'),
        ('joint', 'cls'),
        ('factorized_self_attention', 'avg'),
        ('factorized_dot_product', 'avg'),
    ],
)
def test_every_model_fits_the_clips(attention: str, pool: str) -> None:
    """Build each model with the command-line options in the header of the config."""
    cfg, spec = Config.fromfile(DEMO / 'vivit_shapes.py'), ShapesSpec()
    assert attention in (DEMO / 'vivit_shapes.py').read_text()
    cfg.merge_from_dict({'model.backbone.attention': attention, 'model.backbone.pool': pool})
    backbone = MODELS.build(cfg.model.backbone)
    backbone.init_weights()
    out = backbone(torch.rand(2, 3, spec.frames, spec.size, spec.size) * 2 - 1)
    assert out.shape == (2, cfg.model.cls_head.in_channels)
    out.square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_it_differs_from_the_swin_demo_in_model_and_schedule_alone() -> None:
    ours, swin = (Config.fromfile(DEMO / f'{name}_shapes.py').to_dict() for name in ('vivit', 'swin3d'))
    different = {key for key in ours | swin if ours.get(key) != swin.get(key)}
    assert different <= {'model', 'optim_wrapper', 'param_scheduler', 'epochs', 'train_cfg', 'default_hooks'}
    hooks = [dict(cfg['default_hooks'], logger=None) for cfg in (ours, swin)]
    assert hooks[0] == hooks[1]
