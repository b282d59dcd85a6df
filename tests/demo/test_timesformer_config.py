"""The TimeSformer demo configs, with and without attention over time, match the Swin one in data and steps."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from vidtx_mm.demo.shapes import ShapesSpec
from vidtx_mm.registry import MODELS

DEMO = Path(__file__).resolve().parents[2] / 'configs' / 'demo'


def flat(value, key: str = '') -> dict:
    if not isinstance(value, dict):
        return {key: value}
    return {name: inner for part, entry in value.items() for name, inner in flat(entry, f'{key}.{part}').items()}


def sampling(cfg: Config) -> list[dict]:
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    pipelines = [loader.dataset.pipeline for loader in loaders] + [
        cfg.train_pipeline,
        cfg.val_pipeline,
        cfg.test_pipeline,
    ]
    return [step for pipeline in pipelines for step in pipeline if step['type'] == 'SampleFrames']


@pytest.mark.parametrize('name', ['timesformer', 'timesformer_space'])
def test_config_fits_the_clips(name: str) -> None:
    cfg, spec = Config.fromfile(DEMO / f'{name}_shapes.py'), ShapesSpec()
    backbone = MODELS.build(cfg.model.backbone).eval()
    (frames,) = {(step['clip_len'], step['frame_interval']) for step in sampling(cfg)}
    assert backbone.num_frames == frames[0] and frames[0] * frames[1] == spec.frames
    assert backbone.pos_embed.shape[1] == 1 + (spec.size // 8) ** 2
    out = backbone(torch.zeros(1, 3, backbone.num_frames, spec.size, spec.size))
    assert out.shape == (1, cfg.model.cls_head.in_channels)


def test_the_control_differs_in_the_attention_alone() -> None:
    ours, control = (
        flat(Config.fromfile(DEMO / f'{name}_shapes.py').to_dict()) for name in ('timesformer', 'timesformer_space')
    )
    assert {key for key in ours | control if ours.get(key) != control.get(key)} == {
        '.attention',
        '.model.backbone.attention',
    }


def test_it_differs_from_the_swin_demo_in_model_schedule_and_sampling_alone() -> None:
    ours, swin = (Config.fromfile(DEMO / f'{name}_shapes.py') for name in ('timesformer', 'swin3d'))
    for cfg in (ours, swin):
        for step in sampling(cfg):
            del step['clip_len'], step['frame_interval']
    different = {key for key in ours.keys() | swin.keys() if ours.get(key) != swin.get(key)}
    schedule = {'epochs', 'lr', 'embedding', 'optim_wrapper', 'param_scheduler', 'train_cfg', 'default_hooks'}
    assert different <= {'model', 'attention'} | schedule
