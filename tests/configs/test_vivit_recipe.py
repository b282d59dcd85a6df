"""ViViT's configs beside scenic's (projects/vivit/configs) and, where there is none, table 7 of the paper."""

from pathlib import Path
from typing import Any

import pytest
from config_families import ABSENT, CONFIGS, flat, load

# Name without the family -> rate, epochs, blocks of the temporal encoder (none: no factorized encoder).
RUNS: dict[str, tuple[float, int, int | None]] = {
    **{name: (0.1, 30, None) for name in ('b_k400', 'b_16x4_k400', 'b_16x8_k400', 'b_fsa_k400', 'b_fdp_k400')},
    'b_avg_k400': (0.1, 30, 0),
    'b_fe_k400': (0.05, 30, 4),
    'l_k400': (0.1, 30, None),
    'l_fe_k400': (0.1, 30, 24),
    'l_fe_k600': (0.05, 30, 24),
    'l_fe_ssv2': (0.4, 35, 4),
    'l_fe_epic': (0.5, 50, 4),
}
# Data -> interval of the 32 frames, short side, crop, and crops of a test.
DATA: dict[str, tuple[int, int, int, int]] = {
    'k400': (2, 256, 224, 3),
    'k600': (2, 256, 224, 3),
    'ssv2': (1, 288, 256, 3),
    'epic': (1, 256, 224, 1),
}
# Magnitude of RandAugment, label smoothing, mixup, stochastic depth.
REGULARIZED: dict[str, tuple[int, float, float, float]] = {'ssv2': (20, 0.3, 0.3, 0.3), 'epic': (15, 0.2, 0.1, 0.2)}
RECIPE: dict[str, Any] = {
    'optim_wrapper.optimizer.type': 'SGD',
    'optim_wrapper.optimizer.momentum': 0.9,
    'optim_wrapper.optimizer.nesterov': ABSENT,
    'optim_wrapper.optimizer.weight_decay': 0.0,
    'optim_wrapper.clip_grad.max_norm': 1.0,
    'model.backbone.num_frames': 32,
    'model.cls_head.pool': 'none',
    'model.cls_head.dropout_ratio': 0.0,
    'model.cls_head.init_std': 0.0,
    'model.cls_head.average_clips': 'score',
    'model.data_preprocessor.mean': [127.5] * 3,
    'model.data_preprocessor.std': [127.5] * 3,
    'clips_per_step': 64,
    'gpus': 8,
}

every = pytest.mark.parametrize(
    'path', [path for path in CONFIGS if path.stem.startswith('vivit_')], ids=lambda path: path.stem
)


@every
def test_recipe(path: Path) -> None:
    cfg, name = load(path), path.stem.removeprefix('vivit_')
    rate, epochs, temporal_depth = RUNS[name]
    values = flat(cfg.to_dict())
    assert {key: values.get(key, ABSENT) for key in RECIPE} == RECIPE
    assert (cfg.lr, cfg.epochs) == (rate, epochs)
    if cfg.model.backbone.attention == 'factorized_encoder':
        assert cfg.model.backbone.temporal_depth == temporal_depth
    else:
        assert temporal_depth is None
    rise, fall = cfg.param_scheduler
    assert (rise.type, rise.begin, rise.end) == ('LinearLR', 0, 2.5) and rise.start_factor <= 1e-4
    assert (fall.type, fall.begin, fall.end, fall.T_max) == ('CosineAnnealingLR', 2.5, epochs, epochs - 2.5)
    assert fall.eta_min == 0 and rise.convert_to_iter_based and fall.convert_to_iter_based


@every
def test_clips(path: Path) -> None:
    cfg, data = load(path), path.stem.split('_')[-1]
    interval, short, side, crops = DATA[data]
    assert cfg.model.backbone.img_size == side
    sampling = dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=32, frame_interval=interval)
    train, val, test = (cfg[f'{part}_dataloader'].dataset.to_dict()['pipeline'] for part in ('train', 'val', 'test'))
    resize = dict(type='vidtx_mm.ResizeShortSide', size=short, truncate=True)
    jitter = dict(type='vidtx_mm.ScaleJitter', scale_range=(0.9, 1.33))
    decode, crop = dict(type='vidtx_mm.VideoDecode'), dict(type='RandomCrop', size=side)
    assert train[1:6] == [sampling, decode, resize, jitter, crop]
    assert (train[6]['type'], train[6]['flip_ratio']) == ('Flip', 0.5)
    assert ('flip_label_map' in train[6]) == (data == 'ssv2')
    for pipeline, (number, places) in ((val, (1, 1)), (test, (4, crops))):
        assert pipeline[1] == sampling | dict(test_mode=True) | ({} if number == 1 else dict(num_clips=number))
        crop = dict(type='vidtx_mm.UniformCrop', crop_size=side, num_crops=3)
        # A single crop is rounded down, as official.
        assert pipeline[3:5] == [resize, crop if places == 3 else dict(type='CenterCrop', crop_size=side)]


@every
def test_regularization(path: Path) -> None:
    """Kinetics: colors alone. The others: RandAugment in their place, label smoothing, mixup and stochastic depth."""
    cfg, data = load(path), path.stem.split('_')[-1]
    values = flat(cfg.to_dict())
    augmentation = cfg.train_dataloader.dataset.to_dict()['pipeline'][7:-2]
    keys = (
        'model.cls_head.label_smooth_eps',
        'model.data_preprocessor.blending.alpha',
        'model.backbone.drop_path_rate',
    )
    found = tuple(values.get(key, ABSENT) for key in keys)
    if data in REGULARIZED:
        magnitude, *strengths = REGULARIZED[data]
        policy = dict(type='vidtx_mm.RandAugment', policy='pixelwise', magnitude=magnitude, num_ops=2)
        assert augmentation == [policy] and list(found) == strengths
        assert cfg.model.backbone.drop_path_rescale is False
    else:
        assert augmentation == [dict(type='vidtx_mm.ClipColorJitter')] and found == (ABSENT,) * 3
