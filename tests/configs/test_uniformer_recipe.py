"""UniFormer's configs beside the official run.sh and config.yaml files (Sense-X/UniFormer, video_classification)."""

from pathlib import Path
from typing import Any

import pytest
from config_families import CONFIGS, LIGHT_SIZES, flat, load
from mmengine.optim import build_optim_wrapper

from vidtx_mm.benchmark.complexity import build_on_meta

# Name without the family -> videos a step, rate, epochs, warm-up, drop path (exp/*/run.sh, exp_light/*/run.sh).
RUNS: dict[str, tuple[int, float, int, int, float]] = {
    's_8x8_k400': (128, 4e-4, 100, 10, 0.1),
    's_k400': (32, 1e-4, 110, 10, 0.1),
    's_16x8_k400': (32, 1e-4, 110, 10, 0.1),
    's_32x4_k400': (32, 1e-4, 110, 10, 0.1),
    'b_8x8_k400': (64, 2e-4, 100, 10, 0.3),
    'b_k400': (40, 1.25e-4, 110, 10, 0.3),
    'b_16x8_k400': (40, 1.25e-4, 110, 10, 0.3),
    'b_32x4_k400': (32, 1e-4, 110, 10, 0.3),
    's_k600': (96, 3e-4, 110, 10, 0.1),
    's_16x8_k600': (32, 1e-4, 110, 10, 0.1),
    'b_k600': (40, 1.25e-4, 110, 10, 0.3),
    'b_16x8_k600': (32, 1.25e-4, 110, 10, 0.3),
    'b_32x4_k600': (128, 4e-4, 110, 10, 0.3),
    's_ssv1': (32, 2e-4, 60, 5, 0.2),
    's_32_ssv1': (32, 2e-4, 60, 5, 0.2),
    'b_ssv1': (40, 2.5e-4, 60, 5, 0.6),
    'b_32_ssv1': (32, 2e-4, 60, 5, 0.6),
    's_ssv2': (32, 2e-4, 50, 5, 0.3),
    's_32_ssv2': (32, 2e-4, 50, 5, 0.3),
    'b_ssv2': (40, 2.5e-4, 50, 5, 0.4),
    'b_32_ssv2': (32, 2e-4, 50, 5, 0.5),
    's_ucf101': (128, 5e-5, 25, 5, 0.2),
    's_hmdb51': (128, 5e-5, 25, 5, 0.2),
    'xxs_k400': (256, 8e-4, 110, 10, 0.05),
    **{f'xxs_{size}_k400': (256, 4e-4, 110, 10, 0.05) for size in ('4x128', '4x160', '8x128', '8x160')},
    **{f'xxs_{size}_k400': (256, 8e-4, 110, 10, 0.05) for size in ('16x128', '32x160')},
    'xs_k400': (128, 4e-4, 110, 10, 0.1),
}
# Frames and their interval (none: one from each segment), and the side of the crop.
CLIPS: dict[str, tuple[int, int | None, int]] = {
    **{name: (16, 4, 224) for name in ('s_k400', 'b_k400', 's_k600', 'b_k600')},
    **{name: (16, 8, 224) for name in ('s_16x8_k400', 'b_16x8_k400', 's_16x8_k600', 'b_16x8_k600')},
    **{name: (32, 4, 224) for name in ('s_32x4_k400', 'b_32x4_k400', 'b_32x4_k600')},
    **{name: (8, 8, 224) for name in ('s_8x8_k400', 'b_8x8_k400')},
    **{f'{size}_{data}': (16, None, 224) for size in 'sb' for data in ('ssv1', 'ssv2')},
    **{f'{size}_32_{data}': (32, None, 224) for size in 'sb' for data in ('ssv1', 'ssv2')},
    's_ucf101': (16, 4, 224),
    's_hmdb51': (16, 4, 224),
    'xxs_k400': (16, None, 160),
    **{f'xxs_{frames}x{side}_k400': (frames, None, side) for frames, side, _ in LIGHT_SIZES},
    'xs_k400': (32, None, 192),
}
GPUS = {'b_32x4_k600': 32, 'xxs_4x160_k400': 4, 'xxs_8x128_k400': 4, 'xxs_8x160_k400': 4}
GRAY = [0.45 * 255] * 3, [0.225 * 255] * 3
RECIPE: dict[str, Any] = {
    'optim_wrapper.optimizer.type': 'AdamW',
    'optim_wrapper.optimizer.betas': (0.9, 0.999),
    'optim_wrapper.clip_grad.max_norm': 20,
    'model.cls_head.dropout_ratio': 0.0,
    'model.cls_head.init_std': 0.02,
    'model.cls_head.label_smooth_eps': 0.1,
    'model.cls_head.average_clips': 'score',
    'model.data_preprocessor.mean': GRAY[0],
    'model.data_preprocessor.std': GRAY[1],
    'model.data_preprocessor.blending.probs': [0.5, 0.5],
    'train_dataloader.dataset.num_repeats': 2,
    'train_dataloader.collate_fn.type': 'repeat_pseudo_collate',
}

every = pytest.mark.parametrize(
    'path', [path for path in CONFIGS if path.stem.startswith('uniformer_')], ids=lambda path: path.stem
)


def test_all_configs_are_held() -> None:
    names = {path.stem.removeprefix('uniformer_') for path in CONFIGS if path.stem.startswith('uniformer_')}
    assert names == RUNS.keys() == CLIPS.keys()


@every
def test_recipe(path: Path) -> None:
    cfg, name = load(path), path.stem.removeprefix('uniformer_')
    videos, rate, epochs, warm_up, drop_path = RUNS[name]
    values = flat(cfg.to_dict())
    assert {key: values[key] for key in RECIPE} == RECIPE
    assert (GPUS.get(name, 8) * cfg.batch_size, cfg.lr, cfg.epochs) == (videos, rate, epochs)
    assert cfg.auto_scale_lr.base_batch_size == videos
    assert cfg.model.backbone.drop_path_rate == drop_path
    assert cfg.optim_wrapper.optimizer.weight_decay == (0.1 if name.startswith('xxs') else 0.05)
    mixup, cutmix = cfg.model.data_preprocessor.blending.augments
    assert (mixup.type, mixup.alpha, cutmix.type, cutmix.alpha) == ('MixupBlending', 0.8, 'CutmixBlending', 1.0)
    least = 4e-6 if name == 'b_32x4_k600' else 1e-6
    rise, fall = cfg.param_scheduler
    assert (rise.type, rise.begin, rise.end) == ('LinearLR', 0, warm_up)
    assert rise.start_factor * rate == pytest.approx(least)
    assert (fall.type, fall.begin, fall.end, fall.T_max) == ('CosineAnnealingLR', warm_up, epochs, epochs - warm_up)
    assert fall.eta_min == least and rise.convert_to_iter_based and fall.convert_to_iter_based


@every
def test_clips(path: Path) -> None:
    """Something-Something: BGR, never mirrored, three crops; Kinetics: RGB, four clips, the light models one view.

    UCF101 and HMDB51: five clips, three crops, HMDB51 BGR.
    """
    cfg, name = load(path), path.stem.removeprefix('uniformer_')
    frames, interval, side = CLIPS[name]
    light, something, transfer = name.startswith('x'), 'ssv' in name, name in ('s_ucf101', 's_hmdb51')
    bgr = something or name == 's_hmdb51'
    sampling: dict[str, Any] = dict(type='UniformSample', clip_len=frames)
    if something:  # of the images extracted at 30 per second; version 1 consists of images
        sampling = dict(type='vidtx_mm.SampleSegments', protocol='uniformer', clip_len=frames)
        sampling |= dict(virtual_fps=30 if 'ssv2' in name else None)
    if interval:
        sampling = dict(type='vidtx_mm.SampleClips', protocol='uniformer', clip_len=frames, frame_interval=interval)
    rand_augment: dict[str, Any] = dict(policy='increasing', magnitude=7, num_ops=4, magnitude_std=0.5)
    if name.startswith('xxs') or transfer:  # 'rand-m5-n2-mstd0.25'
        rand_augment = dict(policy='plain', magnitude=5, num_ops=2, magnitude_std=0.25)
    if cfg.model.backbone.arch == 'xxs-ls':  # 'rand'
        rand_augment = dict(policy='plain', magnitude=10, num_ops=2)
    if something or transfer:
        rand_augment |= dict(channel_order='bgr' if bgr else 'rgb')
    train, val, test = (cfg[f'{part}_dataloader'].dataset.to_dict()['pipeline'] for part in ('train', 'val', 'test'))
    ends = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
    assert train == [
        dict(type='vidtx_mm.VideoInit'),
        sampling,
        dict(type='vidtx_mm.VideoDecode'),
        dict(type='vidtx_mm.ResizeShortSide', size=320),
        dict(type='vidtx_mm.RandAugment', **rand_augment),
        dict(type='RandomResizedCrop'),
        dict(type='Resize', scale=(side, side), keep_ratio=False),
        *([] if something else [dict(type='Flip', flip_ratio=0.5)]),
        dict(type='vidtx_mm.NormalizedErasing', mean=GRAY[0], std=GRAY[1], erase_prob=0.25, mode='rand'),
        *ends,
    ]
    clips, crops = (5, 3) if transfer else (1, 3) if something else (1, 1) if light else (4, 1)
    for pipeline, (number, places) in ((val, (1, 1)), (test, (clips, crops))):
        assert pipeline[1] == sampling | dict(test_mode=True) | ({} if number == 1 else dict(num_clips=number))
        crop = dict(type='vidtx_mm.UniformCrop', crop_size=side, num_crops=places)
        assert pipeline[3:] == [dict(type='vidtx_mm.ResizeShortSide', size=side), crop, *ends]
    assert cfg.model.data_preprocessor.get('to_rgb', False) == bgr


@every
def test_what_decays(path: Path) -> None:
    """All but the parameters of one axis: the official names of exempt tables match none."""
    cfg = load(path)
    model = build_on_meta(cfg)
    decayed = {
        id(parameter)
        for group in build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
        for parameter in group['params']
        if group['weight_decay']
    }
    assert decayed == {id(parameter) for parameter in model.parameters() if parameter.ndim > 1}
