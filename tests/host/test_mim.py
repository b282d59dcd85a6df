"""``mim`` on the CPU, from an unrelated folder."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Any

import pytest
import torch
from mmengine.runner import CheckpointLoader

import vidtx_mm  # noqa: F401

CONFIG = Template("""
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='vidtx_mm.VideoSwin',
        arch=dict(embed_dims=12, depths=(2, 2), num_heads=(1, 2)),
        window_size=(2, 4, 4),
        out_indices=(1, ),
    ),
    cls_head=dict(type='vidtx_mm.VideoClsHead', num_classes=$num_classes, in_channels=24),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[128.0] * 3, std=[64.0] * 3, format_shape='NCTHW'),
)
pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
train_dataloader = dict(
    batch_size=2,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='VideoDataset', ann_file='$train', data_prefix=dict(video='$root'), pipeline=pipeline),
)
val_dataloader = dict(
    batch_size=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='VideoDataset', ann_file='$val', data_prefix=dict(video='$root'), pipeline=pipeline, test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='AccMetric')
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.0))
param_scheduler = [dict(type='LinearLR', start_factor=0.5, by_epoch=False, end=4)]
default_hooks = dict(checkpoint=dict(interval=1, save_best='auto'))
randomness = dict(seed=0)
""")


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, clips: Any) -> Path:
    """Unrelated working directory with nothing but a config."""
    where = tmp_path_factory.mktemp('elsewhere')
    (where / 'swin3d_tiny.py').write_text(CONFIG.substitute(vars(clips)))
    return where


@pytest.fixture(scope='module')
def trained(folder: Path, run_mim: Callable[..., str]) -> Path:
    """Checkpoint after one epoch of ``mim train``."""
    run_mim(['train', 'mmaction', 'swin3d_tiny.py'], folder)
    return folder / 'work_dirs/swin3d_tiny/epoch_1.pth'


def scalars(work_dir: Path) -> list[dict[str, float]]:
    """Return the log records of the last run in a work dir."""
    (*_, newest) = sorted(work_dir.glob('*/vis_data/scalars.json')) or sorted(work_dir.glob('*/*.json'))
    return [json.loads(line) for line in newest.read_text().splitlines()]


def metric(records: list[dict[str, float]], name: str) -> float:
    (*_, last) = [record[name] for record in records if name in record]
    return last


def load(checkpoint: Path) -> dict[str, Any]:
    return CheckpointLoader.load_checkpoint(str(checkpoint), map_location='cpu')


def test_train_learns_and_validates(trained: Path) -> None:
    records = scalars(trained.parent)
    assert [record['step'] for record in records if 'loss' in record] == [3]
    assert 0 <= metric(records, 'acc/top1') <= 1
    assert list(trained.parent.glob('best_acc_top1_epoch_1.pth'))


def test_checkpoint_is_tested(trained: Path, folder: Path, run_mim: Callable[..., str]) -> None:
    """``mim test`` gives the accuracy of the same weights in validation."""
    output = run_mim(['test', 'mmaction', 'swin3d_tiny.py', '--checkpoint', trained], folder)
    found = re.search(r'Epoch\(test\).*acc/top1: ([\d.]+)', output)
    assert found is not None, output[-2000:]
    assert float(found[1]) == pytest.approx(metric(scalars(trained.parent), 'acc/top1'), abs=1e-4)


def test_resume_continues(trained: Path, folder: Path, run_mim: Callable[..., str]) -> None:
    """Epoch 2 continues the optimizer's step count and the learning rate schedule."""
    options = ['--resume', trained, '--work-dir', 'resumed', '--cfg-options', 'train_cfg.max_epochs=2']
    run_mim(['train', 'mmaction', 'swin3d_tiny.py', *options], folder)
    resumed = load(folder / 'resumed/epoch_2.pth')
    assert (resumed['meta']['epoch'], resumed['meta']['iter']) == (2, 6)
    assert {float(state['step']) for state in resumed['optimizer']['state'].values()} == {6.0}
    assert metric(scalars(folder / 'resumed'), 'lr') == pytest.approx(1e-3)
    assert not (folder / 'resumed/epoch_1.pth').exists()


def test_load_from_starts_with_these_weights(trained: Path, folder: Path, run_mim: Callable[..., str]) -> None:
    """A learning rate of zero keeps the loaded weights."""
    options = ['--work-dir', 'loaded', '--cfg-options', f'load_from={trained}', 'optim_wrapper.optimizer.lr=0.0']
    run_mim(['train', 'mmaction', 'swin3d_tiny.py', *options], folder)
    before, after = load(trained)['state_dict'], load(folder / 'loaded/epoch_1.pth')['state_dict']
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_two_processes_on_the_cpu(folder: Path, run_mim: Callable[..., str]) -> None:
    """Two processes share the six clips: two steps of batch 2 each instead of three."""
    options = ['--launcher', 'pytorch', '-G', 2, '--work-dir', 'two', '--cfg-options', 'env_cfg.dist_cfg.backend=gloo']
    output = run_mim(['train', 'mmaction', 'swin3d_tiny.py', *options], folder)
    assert re.search(r'Distributed training: True', output)
    assert re.search(r'GPU number: 2', output)
    assert load(folder / 'two/epoch_1.pth')['meta']['iter'] == 2
