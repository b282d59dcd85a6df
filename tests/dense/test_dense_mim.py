"""``mim train`` and ``mim test`` of a detector and a pose model, from an unrelated folder, on the CPU."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from protocol import weight
from reduced import CONFIG_DIR, MASK_RCNN, POSE, knobs, reduce

RunMim = Callable[..., str]


class Job(NamedTuple):
    """A config, its changes, and the names of its metrics."""

    package: str
    config: Path
    kind: str
    changes: dict[str, Any]
    metrics: tuple[str, ...]
    old_head: tuple[str, str]  # what the head was called in the published files, and what it is called in the model

    @property
    def name(self) -> str:
        return self.config.stem


JOBS = [
    Job(
        'mmdet',
        CONFIG_DIR / 'detection/mask_rcnn_uniformer_s_fpn_1x_coco.py',
        'instances',
        MASK_RCNN,
        ('coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/segm_mAP', 'coco/segm_mAP_50'),
        ('', ''),
    ),
    Job(
        'mmpose',
        CONFIG_DIR / 'pose/td-hm_uniformer_s_256x192_coco.py',
        'keypoints',
        POSE,
        ('coco/AP', 'coco/AP .5', 'coco/AR'),
        ('keypoint_head.', 'head.'),
    ),
]


class Trained(NamedTuple):
    job: Job
    folder: Path
    work_dir: Path

    def records(self) -> list[dict[str, float]]:
        (log,) = self.work_dir.glob('*/vis_data/scalars.json')
        return [json.loads(line) for line in log.read_text().splitlines()]


@pytest.fixture(scope='module', params=JOBS, ids=lambda job: job.package)
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, figures: Path, run_mim: RunMim
) -> Trained:
    """Train for five epochs in a folder with nothing but the config."""
    job: Job = request.param
    folder = tmp_path_factory.mktemp(job.package)
    reduce(job.config, knobs(figures, job.kind), job.changes, folder)
    run_mim(['train', job.package, job.config.name], folder)
    return Trained(job, folder, folder / 'work_dirs' / job.name)


def metrics(output: str, names: tuple[str, ...]) -> list[float]:
    """Return the values of the last line of results."""
    (*_, line) = [line for line in output.splitlines() if 'Epoch(test)' in line and 'coco/' in line]
    return [float(re.search(rf'{re.escape(name)}: (-?[\d.]+)', line)[1]) for name in names]  # type: ignore[index]


def test_loss_falls(trained: Trained) -> None:
    losses = [record['loss'] for record in trained.records() if 'loss' in record]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.95 * losses[0], losses


def test_trained_checkpoint_has_the_results_of_validation_and_is_drawn(
    trained: Trained, figures: Path, run_mim: RunMim
) -> None:
    job = trained.job
    arguments = ['--checkpoint', trained.work_dir / 'epoch_5.pth', '--show-dir', 'pictures', '--work-dir', 'tested']
    output = run_mim(['test', job.package, job.config.name, *arguments], trained.folder)
    (*_, validated) = [record for record in trained.records() if job.metrics[0] in record]
    assert metrics(output, job.metrics) == pytest.approx([validated[name] for name in job.metrics], abs=1e-3)
    assert all(0 <= validated[name] <= 1 for name in job.metrics)
    pictures = sorted(trained.folder.glob('tested/*/pictures/*'))
    assert pictures
    for path in pictures:
        image = cv2.imread(str(figures / 'val' / f'{path.name[:5]}.png')).astype(int)
        panels = np.split(cv2.imread(str(path)), 2 if job.package == 'mmdet' else 1, axis=1)  # annotated, predicted
        assert all((abs(panel - image).max(axis=2) > 60).sum() > 20 for panel in panels)


def test_published_form_of_checkpoint_is_tested(trained: Trained, run_mim: RunMim) -> None:
    """A file with the names of mmdet 2 or mmpose 0.x, and golden weights, fills the whole model."""
    import torch

    job = trained.job
    model = torch.load(trained.work_dir / 'epoch_5.pth', weights_only=False)['state_dict']
    old, new = job.old_head
    names = {key: old + key.removeprefix(new) if new and key.startswith(new) else key for key in model}
    file = {
        name: value if name.endswith('num_batches_tracked') else torch.from_numpy(weight(name, value.shape))
        for name, value in ((names[key], value) for key, value in model.items())
    }
    torch.save(dict(state_dict=file), trained.folder / 'published.pth')  # and no meta, as published
    arguments = ['--checkpoint', 'published.pth', '--work-dir', 'published']
    output = run_mim(['test', job.package, job.config.name, *arguments], trained.folder)
    assert all(-1 <= value <= 1 for value in metrics(output, job.metrics))
    report = (trained.folder / 'published/pretrained_report.txt').read_text()
    assert ('dense prediction' if new else '(vidtx_mm,') in report.splitlines()[0]
    assert f'100.0 % of {sum(v.numel() for k, v in model.items() if _is_parameter(k)):,} parameters' in report
    renamed = [line for line in report.splitlines() if line.startswith('renamed\t')]
    assert len(renamed) == sum(name != key for key, name in names.items())


def _is_parameter(key: str) -> bool:
    return key.rpartition('.')[2] in ('weight', 'bias')


def test_inferencers_take_config_and_checkpoint(trained: Trained, figures: Path, tmp_path: Path) -> None:
    """Run the example of docs/dense.md on one image."""
    job, image = trained.job, str(figures / 'val/00000.png')
    files = [str(trained.folder / job.config.name), str(trained.work_dir / 'epoch_5.pth')]
    if job.package == 'mmdet':
        from mmdet.apis import DetInferencer

        DetInferencer(*files, device='cpu')(image, out_dir=str(tmp_path), no_save_pred=False)
    else:
        from mmpose.apis import MMPoseInferencer

        estimator = MMPoseInferencer(pose2d=files[0], pose2d_weights=files[1], det_model='whole_image', device='cpu')
        next(estimator(image, out_dir=str(tmp_path)))
    assert sorted(path.name for path in tmp_path.rglob('00000.*')) == ['00000.json', '00000.png']
