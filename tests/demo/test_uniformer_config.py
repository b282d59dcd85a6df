"""The UniFormer demo config matches the Swin one except for the model."""

from pathlib import Path

import torch
from mmengine.config import Config

from vidtx_mm.demo.shapes import ShapesSpec
from vidtx_mm.registry import MODELS

DEMO = Path(__file__).resolve().parents[2] / 'configs' / 'demo'


def test_config_fits_the_clips() -> None:
    cfg, spec = Config.fromfile(DEMO / 'uniformer_shapes.py'), ShapesSpec()
    backbone = MODELS.build(cfg.model.backbone).eval()
    out = backbone(torch.zeros(1, 3, spec.frames, spec.size, spec.size))
    assert out.shape == (1, cfg.model.cls_head.in_channels, spec.frames // 2, 1, 1)


def test_it_differs_from_the_swin_demo_in_model_and_schedule_alone() -> None:
    ours, swin = (Config.fromfile(DEMO / f'{name}_shapes.py').to_dict() for name in ('uniformer', 'swin3d'))
    different = {key for key in ours | swin if ours.get(key) != swin.get(key)}
    assert different <= {'model', 'optim_wrapper', 'param_scheduler', 'epochs', 'train_cfg'}
    model = {key for key in ours['model'] if ours['model'][key] != swin['model'][key]}
    assert model <= {'backbone', 'cls_head'}
