"""Each detection and pose config matches its name and the published recipe and sizes, and trains."""

import ast
import re
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from reduced import CASCADE, CONFIG_DIR, LIGHT_MASK_RCNN, knobs, reduce
from resolved import golden, group, resolved, unused

from vidtx_mm.benchmark.complexity import build_on_meta
from vidtx_mm.benchmark.dense import count_detector, count_pose

DETECTION = sorted((CONFIG_DIR / 'detection').glob('*.py'))
POSE = sorted((CONFIG_DIR / 'pose').glob('*.py'))
METAFILES = [yaml.safe_load(path.read_text()) for path in (CONFIG_DIR / 'metafiles').glob('uniformer*.yml')]
ENTRIES = {model['Name']: model for metafile in METAFILES for model in metafile['Models']}
ABSENT = object()

every = pytest.mark.parametrize('path', DETECTION + POSE, ids=lambda path: path.stem)
every_detector = pytest.mark.parametrize('path', DETECTION, ids=lambda path: path.stem)
every_pose = pytest.mark.parametrize('path', POSE, ids=lambda path: path.stem)

# Word of a name -> what the config must hold.
ARCHS = {
    's': {'model.backbone.arch': 'small', 'model.backbone.type': 'vidtx_mm.ImageUniFormer'},
    'b': {'model.backbone.arch': 'base', 'model.backbone.type': 'vidtx_mm.ImageUniFormer'},
    'xs': {'model.backbone.arch': 'xs', 'model.backbone.type': 'vidtx_mm.ImageUniFormerLight'},
    'xxs': {'model.backbone.arch': 'xxs', 'model.backbone.type': 'vidtx_mm.ImageUniFormerLight'},
}
HYBRID = {'model.backbone.stage3': 'hybrid', 'model.backbone.window_size': 14}
SCHEDULES = {
    '1x': {'epochs': 12, 'train_cfg.max_epochs': 12, 'param_scheduler.1.milestones': [8, 11]},
    '3x': {'epochs': 36, 'train_cfg.max_epochs': 36, 'param_scheduler.1.milestones': [27, 33]},
}
# (config) -> drop path, recomputed blocks: exp/*/config.py of the official repository.
FIT = {
    'mask_rcnn_uniformer_s_fpn_1x_coco': (0.2, [0, 0, 8, 0]),
    'mask_rcnn_uniformer_b_fpn_1x_coco': (0.3, ABSENT),
    'mask_rcnn_uniformer_s_fpn_3x_ms_coco': (0.1, [0, 0, 8, 0]),
    'mask_rcnn_uniformer_b_fpn_3x_ms_coco': (0.3, [0, 0, 20, 0]),
    'cascade_mask_rcnn_uniformer_s_fpn_3x_ms_coco': (0.2, [0, 0, 8, 0]),
    'cascade_mask_rcnn_uniformer_b_fpn_3x_ms_coco': (0.4, [0, 0, 20, 0]),
    'mask_rcnn_uniformer_xxs_fpn_1x_coco': (0.0, ABSENT),
    'mask_rcnn_uniformer_xs_fpn_1x_coco': (0.15, ABSENT),
}
# (config) -> persons of each of eight GPUs, rate, drop path, sigma.
POSE_FIT = {
    'td-hm_uniformer_s_256x192_coco': (128, 2e-3, 0.2, 2),
    'td-hm_uniformer_s_384x288_coco': (128, 2e-3, 0.2, 3),
    'td-hm_uniformer_s_448x320_coco': (64, 1e-3, 0.2, 3),
    'td-hm_uniformer_b_256x192_coco': (128, 2e-3, 0.4, 2),
    'td-hm_uniformer_b_384x288_coco': (32, 5e-4, 0.5, 3),
    'td-hm_uniformer_b_448x320_coco': (32, 5e-4, 0.55, 3),
}
RGB = {
    'model.data_preprocessor.mean': [123.675, 116.28, 103.53],
    'model.data_preprocessor.std': [58.395, 57.12, 57.375],
    'model.data_preprocessor.bgr_to_rgb': True,
}
# The heads, of mmdet 2.11 and of exp/cascade_mask_rcnn_3x_ms_hybrid_*/config.py.
HEADS = {
    'mask_rcnn': {
        'model.rpn_head.loss_bbox': dict(type='L1Loss', loss_weight=1.0),
        'model.roi_head.bbox_head.type': 'Shared2FCBBoxHead',
        'model.roi_head.bbox_head.loss_bbox': dict(type='L1Loss', loss_weight=1.0),
        'model.train_cfg.rpn.allowed_border': -1,
        'model.train_cfg.rpn_proposal.max_per_img': 1000,
        'model.test_cfg.rcnn.score_thr': 0.05,
    },
    'cascade_mask_rcnn': {
        'model.rpn_head.loss_bbox': dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0),
        'model.roi_head.stage_loss_weights': [1, 0.5, 0.25],
        'model.train_cfg.rpn.allowed_border': 0,
        'model.train_cfg.rpn_proposal.max_per_img': 2000,
        'model.test_cfg.rcnn.score_thr': 0.05,
        **{
            f'model.roi_head.bbox_head.{stage}.{key}': value
            for stage, stds in enumerate(([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067]))
            for key, value in {
                'num_shared_convs': 4,
                'num_shared_fcs': 1,
                'norm_cfg.type': 'SyncBN',
                'reg_class_agnostic': False,
                'reg_decoded_bbox': True,
                'loss_bbox': dict(type='GIoULoss', loss_weight=10.0),
                'bbox_coder.target_stds': stds,
            }.items()
        },
    },
}


@cache
def _loaded(path: Path) -> Config:
    return Config.fromfile(path)


def load(path: Path) -> Config:
    return deepcopy(_loaded(path))


def flat(value: Any, prefix: str = '') -> dict[str, Any]:
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    found: dict[str, Any] = {}
    for key, entry in items:
        if isinstance(entry, (Mapping, list, tuple)) and entry:
            found[f'{prefix}{key}'] = entry
            found |= flat(entry, f'{prefix}{key}.')
        else:
            found[f'{prefix}{key}'] = entry
    return found


def holds(cfg: Config, facts: Mapping[str, Any]) -> None:
    values = flat(cfg.to_dict())
    for key, fact in facts.items():
        found = values.get(key, ABSENT)
        assert found == fact, f'{key} is {found!r}, not {fact!r}'


def types(pipeline: list[ConfigDict]) -> list[str]:
    return [step.type for step in pipeline]


@every
def test_header_and_base(path: Path) -> None:
    text = path.read_text()
    package = {'detection': 'mmdet', 'pose': 'mmpose'}[path.parent.name]
    header = ast.get_docstring(ast.parse(text))
    assert header and all(f'\n{part}: ' in header for part in ('Recipe', 'Published', 'Command'))
    assert f'mim train {package} {path.name}' in header
    assert f"\n_base_ = '{package}::_base_/default_runtime.py'\n" in text
    assert "imports=['vidtx_mm']" in text


@every
def test_resolved_config_equals_its_golden(path: Path) -> None:
    assert resolved(path) == golden(group(path)).get(path.stem), 'meant? then run tests/goldens/resolved.py'


@every
def test_agrees_with_its_entry_in_the_index(path: Path) -> None:
    """Compare parameters, the published result in the header, and the pretrained weights."""
    cfg, entry = load(path), ENTRIES[path.stem]
    assert sum(p.numel() for p in build_on_meta(cfg).parameters()) == entry['Metadata']['Parameters']
    header = ast.get_docstring(ast.parse(path.read_text()))
    for name, value in entry['Results'][0]['Metrics'].items():
        assert f'{name} {value}' in header, name
    assert cfg.checkpoint in {str(model.get(key)) for model in ENTRIES.values() for key in ('Weights', 'Weights Page')}


@every_detector
def test_detection_recipe(path: Path) -> None:
    cfg = load(path)
    head, size, schedule = re.fullmatch(r'(\w+)_uniformer_(\w+?)_fpn_(1x|3x)(?:_ms)?_coco', path.stem).groups()
    rate, recomputed = FIT[path.stem]
    light = size in ('xs', 'xxs')
    holds(
        cfg,
        {
            **ARCHS[size],
            **({} if light else HYBRID),
            **SCHEDULES[schedule],
            **RGB,
            **HEADS[head],
            'model.type': {'mask_rcnn': 'MaskRCNN', 'cascade_mask_rcnn': 'CascadeRCNN'}[head],
            'model.backbone.drop_path_rate': rate,
            'model.backbone.with_cp': recomputed,
            'model.backbone.norm_eval': False,
            'model.data_preprocessor.pad_size_divisor': 32,
            'batch_size': 2,
            'auto_scale_lr.base_batch_size': 16,
            'optim_wrapper.type': 'OptimWrapper',
            'optim_wrapper.optimizer': dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
            'optim_wrapper.clip_grad': ABSENT,
            'param_scheduler.0': dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
        },
    )
    steps = cfg.train_pipeline
    if schedule == '1x':
        assert types(steps) == ['LoadImageFromFile', 'LoadAnnotations', 'Resize', 'RandomFlip', 'PackDetInputs']
    else:
        assert types(steps) == ['LoadImageFromFile', 'LoadAnnotations', 'RandomFlip', 'RandomChoice', 'PackDetInputs']
        alone, (first, crop, last) = steps[3].transforms
        assert [side for side, _ in alone[0].scales] == [480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800]
        assert alone[0].scales == last.scales and [side for side, _ in first.scales] == [400, 500, 600]
        assert (crop.crop_type, crop.crop_size, crop.allow_negative_crop) == ('absolute_range', (384, 600), True)
        assert {longest for step in (alone[0], first, last) for _, longest in step.scales} == {1333}
    assert cfg.test_dataloader.dataset.pipeline[1].scale == (1333, 800)


@every_detector
def test_parameters_named_norm_have_no_weight_decay(path: Path) -> None:
    """All others decay: other biases, and the BatchNorms of a convolution stem and of the heads."""
    cfg = load(path)
    model = build_on_meta(cfg)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decays = {names[id(p)]: group['weight_decay'] for group in groups for p in group['params']}
    assert decays.keys() == set(names.values())
    assert all(decay == (0 if 'norm' in name else 0.05) for name, decay in decays.items())


@every_pose
def test_pose_recipe(path: Path) -> None:
    cfg = load(path)
    size, height, width = re.fullmatch(r'td-hm_uniformer_(\w)_(\d+)x(\d+)_coco', path.stem).groups()
    height, width = int(height), int(width)
    batch, lr, rate, sigma = POSE_FIT[path.stem]
    codec = dict(type='MSRAHeatmap', input_size=(width, height), heatmap_size=(width // 4, height // 4), sigma=sigma)
    holds(
        cfg,
        {
            **ARCHS[size],
            **RGB,
            'model.backbone.stage3': 'global',
            'model.head.deconv_out_channels': (256, 256, 256),
            'model.head.deconv_kernel_sizes': (4, 4, 4),
            'model.backbone.drop_path_rate': rate,
            'codec': codec,
            'model.head.decoder': codec,
            'model.head.loss': dict(type='KeypointMSELoss', use_target_weight=True),
            'model.test_cfg': dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
            'train_dataloader.batch_size': batch,
            'auto_scale_lr.base_batch_size': 8 * batch,
            'train_cfg.max_epochs': 210,
            'param_scheduler.0': dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
            'param_scheduler.1.milestones': [170, 200],
            'optim_wrapper.optimizer': dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.01),
            'optim_wrapper.paramwise_cfg': ABSENT,
            'optim_wrapper.clip_grad': ABSENT,
            'val_evaluator.nms_thr': 0.9,
        },
    )
    assert cfg.train_pipeline[2:6] == [
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomHalfBody', min_total_keypoints=9, prob=0.3),  # more than 8, mmpose 0.16 says
        dict(type='vidtx_mm.RandomScaleRotation', scale_factor=0.5, rotate_factor=40, rotate_prob=0.6),
        dict(type='TopdownAffine', input_size=(width, height)),  # without UDP
    ]
    assert cfg.val_dataloader.dataset.bbox_file.endswith('COCO_val2017_detections_AP_H_56_person.json')


@every
def test_every_variable_at_the_top_works(path: Path) -> None:
    assert unused(path) == []


@every
def test_a_step_takes_what_the_recipe_says(path: Path) -> None:
    """GPUs x batch x accumulation; --auto-scale-lr sees GPUs x batch alone and changes nothing."""
    cfg = load(path)
    batch = cfg.gpus * cfg.train_dataloader.batch_size
    step = cfg.get('images_per_step') or cfg.persons_per_step
    assert batch * cfg.optim_wrapper.accumulative_counts == step
    assert cfg.auto_scale_lr.base_batch_size == batch


@every
def test_multiply_adds_match_the_published_ones(path: Path) -> None:
    """On an image of 800 x 1280 or one person; B at 384 x 288 has our own count (the README's is of another model)."""
    flops = ENTRIES[path.stem]['Metadata'].get('FLOPs')
    if flops is None:
        pytest.skip('none are published')
    counting = count_pose if path in POSE else count_detector
    assert counting(load(path)).macs == pytest.approx(flops, rel=0.01)


SHORT_RUNS = {
    'cascade_mask_rcnn_uniformer_s_fpn_3x_ms_coco': CASCADE,
    'mask_rcnn_uniformer_xxs_fpn_1x_coco': LIGHT_MASK_RCNN,
}


@pytest.mark.parametrize('name', list(SHORT_RUNS))
def test_trains_and_tests(name: str, figures: Path, tmp_path: Path) -> None:
    """Cover three stages of heads, several scales and the light backbone, which the runs of ``mim`` do not."""
    values = knobs(figures, 'instances') | dict(epochs=1)
    cfg = reduce(CONFIG_DIR / 'detection' / f'{name}.py', values, SHORT_RUNS[name], tmp_path)
    cfg.work_dir = str(tmp_path / 'work')
    runner = Runner.from_cfg(cfg)
    start = {key: value.clone() for key, value in runner.model.named_parameters()}
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == runner.iter == 4 and torch.isfinite(torch.tensor(losses)).all()
    assert [
        key for key, value in runner.model.named_parameters() if value.equal(start[key]) and 'backbone' in key
    ] == []
    assert {'coco/bbox_mAP', 'coco/segm_mAP'} <= set(runner.test())
