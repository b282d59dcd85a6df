"""TimeSformer's configs beside the official ones (facebookresearch/TimeSformer, configs/ and config/defaults.py)."""

from pathlib import Path
from typing import Any

import pytest
from config_families import ABSENT, CONFIGS, flat, load
from mmengine.optim import build_optim_wrapper

from vidtx_mm.benchmark.complexity import build_on_meta

# Model and data -> frames, their interval at 30 frames a second (None: segments of the whole video), side, short sides.
CLIPS: dict[tuple[str, str], tuple[int, int | None, int, tuple[int, int]]] = {
    **{(model, 'k400'): (8, 32, 224, (256, 320)) for model in ('base', 'space', 'joint', 'lg', 'axial')},
    ('base', 'k600'): (8, 32, 224, (256, 320)),
    **{('hr', data): (16, 16, 448, (448, 512)) for data in ('k400', 'k600')},
    **{('l', data): (96, 4, 224, (256, 320)) for data in ('k400', 'k600')},
    ('base', 'ssv2'): (8, None, 224, (256, 320)),
    ('hr', 'ssv2'): (16, None, 448, (448, 512)),
    ('l', 'ssv2'): (64, None, 224, (256, 320)),
    **{(str(frames), 'howto100m'): (frames, 32, 224, (256, 320)) for frames in (8, 32, 64, 96)},
}
TEST_CLIPS = {'8': 48, '32': 12, '64': 6, '96': 4}  # of a HowTo100M video: the paper, section 4.6
RECIPE: dict[str, Any] = {
    'epochs': 15,
    'param_scheduler': [dict(type='MultiStepLR', milestones=[11, 14], gamma=0.1, by_epoch=True, begin=0, end=15)],
    'optim_wrapper.type': 'OptimWrapper',
    'optim_wrapper.optimizer.type': 'SGD',
    'optim_wrapper.optimizer.lr': 0.005,
    'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.nesterov': True,
    'optim_wrapper.optimizer.weight_decay': 1e-4,
    'optim_wrapper.clip_grad': ABSENT,
    'model.backbone.drop_path_rate': 0.1,
    'model.cls_head.pool': 'none',  # a single linear layer on the class token, which nothing drops
    'model.cls_head.dropout_ratio': 0.0,
    'model.cls_head.init_std': 0.02,
    'model.cls_head.label_smooth_eps': ABSENT,
    'model.cls_head.average_clips': 'score',
    'model.data_preprocessor.mean': [0.45 * 255] * 3,
    'model.data_preprocessor.std': [0.225 * 255] * 3,
    'model.data_preprocessor.blending': ABSENT,
}

every = pytest.mark.parametrize(
    'path', [path for path in CONFIGS if path.stem.startswith('timesformer_')], ids=lambda path: path.stem
)


@every
def test_recipe(path: Path) -> None:
    cfg = load(path)
    values = flat(cfg.to_dict())
    assert {key: values.get(key, ABSENT) for key in RECIPE} == RECIPE
    assert 8 * cfg.batch_size * values.get('optim_wrapper.accumulative_counts', 1) == 64


@every
def test_clips(path: Path) -> None:
    cfg = load(path)
    _, model, data = path.stem.split('_')
    frames, interval, side, sides = CLIPS[model, data]
    views = (TEST_CLIPS[model], 1) if data == 'howto100m' else (1, 3)
    assert (cfg.model.backbone.num_frames, cfg.model.backbone.img_size) == (frames, side)
    sampling = dict(type='vidtx_mm.SampleSegments', protocol='timesformer', clip_len=frames, virtual_fps=30)
    if interval:
        sampling = dict(type='vidtx_mm.SampleClips', protocol='timesformer', clip_len=frames, frame_interval=interval)
        sampling |= dict(target_fps=30)
    train, val, test = (cfg[f'{part}_dataloader'].dataset.to_dict()['pipeline'] for part in ('train', 'val', 'test'))
    rescale = dict(type='vidtx_mm.RandomShortSide', scale_range=sides) | (dict(inverse=True) if data == 'ssv2' else {})
    augmentation = [rescale, dict(type='RandomCrop', size=side)]
    augmentation += [] if data == 'ssv2' else [dict(type='Flip', flip_ratio=0.5)]
    ends = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
    assert train == [dict(type='vidtx_mm.VideoInit'), sampling, dict(type='vidtx_mm.VideoDecode'), *augmentation, *ends]
    for pipeline, (clips, crops) in ((val, (1, 1)), (test, views)):
        assert pipeline[1] == sampling | dict(test_mode=True) | ({} if clips == 1 else dict(num_clips=clips))
        resize, crop = pipeline[3:5]
        assert resize == dict(type='vidtx_mm.ResizeShortSide', size=side)
        assert crop == dict(type='vidtx_mm.UniformCrop', crop_size=side, num_crops=crops)


@every
def test_everything_decays(path: Path) -> None:
    """Official files exempt names with 'bn', which no parameter has; the tables and norms decay as well."""
    cfg = load(path)
    model = build_on_meta(cfg)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    assert sum(len(group['params']) for group in groups) == len(list(model.parameters()))
    assert {group['weight_decay'] for group in groups} == {1e-4}
