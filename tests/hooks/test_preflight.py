"""The table before the first step: what it says, what it warns of, what stops a run."""

import time
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from vidtx_mm.datasets import VideoListDataset
from vidtx_mm.hooks import SafeCheckpointHook
from vidtx_mm.hooks.preflight import PreflightError, PreflightHook, input_findings
from vidtx_mm.hooks.preflight_checks import accumulation, data

PIPELINE = [
    dict(type='DecordInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(32, 32), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture
def cfg(clips: Any, tmp_path: Path) -> Config:
    """A recipe that is right in everything."""
    dataset = dict(
        type='vidtx_mm.VideoListDataset',
        num_classes=3,
        data_prefix=dict(video=str(clips.root)),
        check_files='none',
        pipeline=PIPELINE,
    )
    loader = dict(batch_size=2, sampler=dict(type='DefaultSampler', shuffle=False), num_workers=0)
    val = dict(loader, dataset=dict(dataset, ann_file=str(clips.val), test_mode=True))
    return Config(
        dict(
            default_scope='mmaction',
            clips_per_step=2,
            model=dict(
                type='Recognizer3D',
                backbone=dict(
                    type='vidtx_mm.VideoTimeSformer',
                    arch=dict(embed_dims=12, depth=1, num_heads=2),
                    num_frames=4,
                    img_size=32,
                    patch_size=8,
                ),
                cls_head=dict(type='vidtx_mm.VideoClsHead', num_classes=3, in_channels=12, pool='none', topk=1),
                data_preprocessor=dict(
                    type='ActionDataPreprocessor', mean=[64.0] * 3, std=[64.0] * 3, format_shape='NCTHW'
                ),
            ),
            train_dataloader=dict(loader, dataset=dict(dataset, ann_file=str(clips.train))),
            val_dataloader=val,
            test_dataloader=deepcopy(val),
            val_evaluator=dict(type='AccMetric'),
            test_evaluator=dict(type='AccMetric'),
            train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=1),
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='vidtx_mm.SafeCheckpointHook', interval=1, max_keep_ckpts=2)),
            custom_hooks=[dict(type='vidtx_mm.PreflightHook')],
            work_dir=str(tmp_path),
            experiment_name=tmp_path.name,
        )
    )


def told(cfg: Config) -> str:
    """Train and return the log."""
    runner = Runner.from_cfg(cfg)
    runner.train()
    (file,) = Path(runner.log_dir).glob('*.log')
    return file.read_text()


def test_a_right_recipe(cfg: Config, clips: Any) -> None:
    log = told(cfg)
    for line in (
        '  training data    6 videos of 3 classes',
        '  validation data  3 videos of 3 classes',
        '  classes          3',
        '  preprocessing    mean [64.0, 64.0, 64.0], std [64.0, 64.0, 64.0]',
        '  batch            2 clips a step (2 videos)',
        '  size             4 frames of 32 x 32',
        '  processes        1, 0 GPUs visible',
        '  precision        float32',
        '  weights          random: no init_cfg and no load_from',
        '  schedule         1 epochs, 3 steps',
        '  disk             ',
    ):
        assert f'\n{line}' in log
    assert '\n? ' not in log and 'WARNING - Preflight' not in log


PARTS = ('train', 'val', 'test')
DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    'rate': ({'clips_per_step': 16}, 'rate 0.1 is made for 16: use 0.0125, or optim_wrapper.accumulative_counts=8'),
    'class without videos': (
        {
            'model.cls_head.num_classes': 4,
            **{f'{name}_dataloader.dataset.num_classes': 4 for name in ('train', 'val', 'test')},
        },
        'no video of 1 of 4 classes (3)',
    ),
    'clip length': ({'model.backbone.num_frames': 8}, 'clips of 4 frames for num_frames=8'),
    'crop': ({'model.backbone.img_size': 64}, 'crops of (32, 32) for img_size=64'),
    'not normalized': (
        {'model.data_preprocessor.std': [1.0] * 3, 'model.data_preprocessor.mean': [0.0] * 3},
        'not normalized; set mean and std',
    ),
    'units of mean and std': (
        {'model.data_preprocessor.std': [0.2] * 3},
        'mean counts from 0 to 255, std from 0 to 1?',
    ),
    'one mean': (
        {'model.data_preprocessor.mean': [64.0], 'model.data_preprocessor.std': [64.0]},
        'one value for three channels?',
    ),
    'late schedule': (
        {'param_scheduler': [dict(type='CosineAnnealingLR', by_epoch=True, begin=3, end=9, T_max=6)]},
        'CosineAnnealingLR begins at epoch 3, after the end of the run',
    ),
}


@pytest.mark.parametrize('name', DOUBTS)
def test_doubts_stop_a_strict_run(name: str, cfg: Config) -> None:
    options, text = DOUBTS[name]
    cfg.merge_from_dict(options)
    cfg.custom_hooks[0].strict = True
    with pytest.raises(PreflightError) as error:
        told(cfg)
    assert text in str(error.value)


def test_doubts_warn(cfg: Config) -> None:
    for name in ('rate', 'not normalized'):
        cfg.merge_from_dict(DOUBTS[name][0])
    warnings = [line for line in told(cfg).splitlines() if 'WARNING - Preflight, ' in line]
    assert [text for name in ('rate', 'not normalized') for line in warnings if (text := DOUBTS[name][1]) in line] == [
        DOUBTS['rate'][1],
        DOUBTS['not normalized'][1],
    ]


ERRORS: dict[str, tuple[dict[str, Any], str]] = {
    'head and data set': (
        {'model.cls_head.num_classes': 5},
        'num_classes = 5, but train_dataloader.dataset.num_classes = 3',
    ),
    'blending': (
        {'model.data_preprocessor.blending': dict(type='MixupBlending', num_classes=7)},
        'num_classes = 3, but num_classes of MixupBlending = 7',
    ),
    'std of zero': ({'model.data_preprocessor.std': [64.0, 0.0, 64.0]}, 'values of std must be positive'),
    'two means': ({'model.data_preprocessor.mean': [64.0] * 2}, 'give three values each'),
    'labels': (
        {'train_dataloader.dataset.num_classes': None, 'model.cls_head.num_classes': 2},
        'labels 2 do not fit the 2 classes of the head (0 to 1)',
    ),
    'files': (
        {'train_dataloader.dataset.data_prefix.video': '/nowhere'},
        '6 of 6 files looked for are missing: /nowhere/',
    ),
}


@pytest.mark.parametrize('name', ERRORS)
def test_errors_stop(name: str, cfg: Config) -> None:
    options, text = ERRORS[name]
    cfg.merge_from_dict(options)
    with pytest.raises(PreflightError) as error:
        told(cfg)
    assert text in str(error.value)
    assert not list(Path(cfg.work_dir).glob('*.pth'))


@pytest.mark.parametrize(
    ('checkpoint', 'world_size', 'batches'),
    [
        (dict(interval=2), 2, 6),
        (dict(interval=1, by_epoch=False), 2, 1),
        (dict(interval=4, by_epoch=False), 2, None),
        (dict(interval=2), 1, None),
    ],
)
def test_checkpoints_between_optimizer_steps(checkpoint: dict, world_size: int, batches: int | None) -> None:
    """Three batches an epoch, four of which make a step."""
    run = SimpleNamespace(
        hooks=[SafeCheckpointHook(**checkpoint)],
        world_size=world_size,
        train_dataloader=range(3),
        optim_wrapper=SimpleNamespace(_accumulative_counts=4),
    )
    found = [finding.text for finding in accumulation(run)]  # type: ignore[arg-type]
    assert len(found) == (batches is not None)
    assert all(f'every {batches} batches, optimizer steps every 4' in text for text in found)


def test_full_disk(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('shutil.disk_usage', lambda path: SimpleNamespace(free=1000))
    with pytest.raises(PreflightError, match='0.0 MB free.*not enough for one'):
        told(cfg)


def test_views_that_differ_are_named(cfg: Config) -> None:
    cfg.merge_from_dict({'test_dataloader.dataset.pipeline.1.num_clips': 4})
    assert 'validation 1 x 1, test 4 x 1 (clips x crops): the two results are not comparable' in told(cfg)


def test_share_of_waiting(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('vidtx_mm.hooks.preflight.MEASURED_STEPS', 3)
    original = VideoListDataset.prepare_data
    monkeypatch.setattr(VideoListDataset, 'prepare_data', lambda *args: time.sleep(0.2) or original(*args))
    log = told(cfg)
    assert ' a step, ' in log and 'more workers (num_workers is 0)' in log


@pytest.mark.parametrize(
    ('clips', 'text'),
    [
        (torch.tensor([0.0, torch.nan]), 'not finite'),
        (torch.arange(256.0), 'not normalized'),
        (torch.linspace(-2.0, -1.99, 9), 'all but constant'),
    ],
)
def test_values_of_the_first_batch(clips: torch.Tensor, text: str) -> None:
    (finding,) = input_findings(clips)
    assert text in finding.text


def test_lists_of_the_size_of_kinetics_take_two_seconds(tmp_path: Path) -> None:
    """240,000 videos for training and 20,000 for validation."""
    loaders = {}
    for name, length in (('train', 240_000), ('val', 20_000)):
        entries = [dict(filename=f'{tmp_path}/{index}.mp4', label=index % 400) for index in range(length)]
        dataset = VideoListDataset(str(tmp_path), [], num_classes=400, lazy_init=True, check_files='none')
        dataset.load_data_list = lambda entries=entries: entries  # type: ignore[method-assign]
        dataset.full_init()
        loaders[f'{name}_dataloader'] = SimpleNamespace(dataset=dataset)
    head = SimpleNamespace(cls_head=SimpleNamespace(num_classes=400))
    runner: Any = SimpleNamespace(model=head, val_loop=True, **loaders)
    start = time.process_time()
    found = list(data(runner))
    assert time.process_time() - start < 2
    assert [finding.level for finding in found] == ['ok', 'error', 'ok', 'error']
    assert found[0].text == '240,000 videos of 400 classes'


def test_a_check_that_fails_ends_no_run(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(runner: Runner) -> Any:
        raise AttributeError('unusual model')

    monkeypatch.setattr('vidtx_mm.hooks.preflight.CHECKS', (odd,))
    assert 'odd  not checked (AttributeError: unusual model)' in told(cfg)


def test_needs_nothing_of_the_model() -> None:
    assert PreflightHook().strict is False
