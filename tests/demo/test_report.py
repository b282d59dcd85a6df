"""The report of the demo, on invented results."""

import json
from pathlib import Path

import cv2
import mmengine
import numpy as np
import pytest
import torch

from vidtx_mm.demo import report
from vidtx_mm.demo.shapes import CLASSES, ShapesSpec, make_shapes

SPEC = ShapesSpec(train=1, val=1, test=24)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('shapes')
    make_shapes(folder, SPEC)
    return folder


def dump(file: Path, labels: np.ndarray, scores: np.ndarray) -> Path:
    """Write the dump of ``mim test --dump``."""
    pairs = zip(labels, scores, strict=True)
    mmengine.dump([dict(gt_label=torch.tensor([y]), pred_score=torch.from_numpy(s)) for y, s in pairs], file)
    return file


def results(mistakes: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """Return labels, and scores in which some clips are predicted as the next class, with rising confidence."""
    labels = np.arange(SPEC.test) % len(CLASSES)
    scores = np.full((SPEC.test, len(CLASSES)), 0.02)
    scores[np.arange(SPEC.test), labels] = 0.5
    for clip in mistakes:
        scores[clip, (labels[clip] + 1) % len(CLASSES)] = 0.6 + 0.01 * clip
    return labels, scores / scores.sum(1, keepdims=True)


def predictions(root: Path, mistakes: tuple[int, ...] = ()) -> report.Predictions:
    return report.read_predictions(dump(root / 'p.pkl', *results(mistakes)), root)


def test_predictions_meet_their_clips(root: Path) -> None:
    read = predictions(root, mistakes=(3, 10))
    assert read.classes == list(CLASSES)
    assert [path.stem.split('_')[1] for path in read.paths] == [CLASSES[label] for label in read.labels]
    assert all(path.is_file() for path in read.paths)
    assert np.flatnonzero(~read.correct).tolist() == [3, 10]
    assert read.predicted[3] == 4


@pytest.mark.parametrize('change', [np.flip, lambda labels: labels[:-1]])
def test_predictions_of_another_list_are_rejected(root: Path, change, tmp_path: Path) -> None:
    labels, scores = results()
    other = change(labels)
    with pytest.raises(ValueError, match=r'other\.pkl: its \d+ labels differ from .*test\.txt'):
        report.read_predictions(dump(tmp_path / 'other.pkl', other, scores[: len(other)]), root)


@pytest.mark.parametrize(('right', 'total', 'number'), [(256, 256, '1.00'), (255, 256, '0.99'), (12, 256, '0.04')])
def test_last_line(right: int, total: int, number: str) -> None:
    labels = np.zeros(total, dtype=int)
    scores = np.zeros((total, 2))
    scores[right:, 1] = 1
    line = report.Predictions([], labels, scores, ['a', 'b']).summary()
    assert line == f'demo: top-1 {number} on {total} held-out clips'


def test_curves(tmp_path: Path) -> None:
    file = tmp_path / 'scalars.json'
    rows = [
        {'lr': 1e-3, 'loss': 2.0, 'top1_acc': 0.25, 'epoch': 1, 'iter': 32, 'step': 32},
        {'acc/top1': 0.5, 'step': 1},
        {'lr': 1e-3, 'loss': 1.0, 'top1_acc': 0.5, 'epoch': 2, 'iter': 96, 'step': 96},
        {'acc/top1': 0.75, 'step': 2},
        {'acc/top1': 0.75, 'step': 3},
    ]
    file.write_text('\n'.join(map(json.dumps, rows)))
    curves = report.read_curves(file, steps_per_epoch=64)
    assert curves.loss == [(0.5, 2.0), (1.5, 1.0)]
    assert curves.train == [(0.5, 0.25), (1.5, 0.5)]
    assert curves.val == [(1, 0.5), (2, 0.75), (3, 0.75)]
    assert curves.best == (2, 0.75)
    file.write_text('')
    with pytest.raises(ValueError, match='train again'):
        report.read_curves(file, steps_per_epoch=64)


def test_the_sheet_shows_every_class_and_the_surest_mistakes(root: Path) -> None:
    first, second = report.choose(predictions(root, mistakes=(0, 9, 12, 20)))
    assert first == list(range(8))
    assert second[:3] == [20, 12, 9]  # clip 0 is shown already
    assert len(second) == len(set(second)) == report.SHEET_ROWS
    many = tuple(range(8, 24))
    assert report.choose(predictions(root, many))[1] == list(range(23, 15, -1))


def test_captions(root: Path) -> None:
    read = predictions(root, mistakes=(3,))
    assert report.caption(read, 2) == ('up: correct (0.78)', report.RIGHT)
    assert report.caption(read, 3) == ('down: predicted as clockwise (0.50)', report.WRONG)


def test_a_filmstrip_keeps_the_order_of_frames() -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    strip = report.filmstrip(frames, zoom=2, gap=1)
    assert strip.shape == (8, 3 * 8 + 2, 3)
    assert strip[0, [0, 8, 9, 17, 18], 0].tolist() == [0, 255, 1, 255, 2]


def test_pictures(root: Path, tmp_path: Path) -> None:
    read = predictions(root, mistakes=(9,))
    epochs = [float(epoch) for epoch in range(1, 5)]
    curves = report.Curves(*[[(epoch, epoch / 5) for epoch in epochs]] * 3)
    report.draw_confusion(read, tmp_path / 'new' / 'confusion.png')
    report.draw_curves(curves, 1 / 8, tmp_path / 'new' / 'curves.png')
    report.draw_predictions(read, tmp_path / 'new' / 'predictions.png')
    for name, width in (('confusion', 700), ('curves', 1000), ('predictions', 1700)):
        picture = cv2.imread(str(tmp_path / 'new' / f'{name}.png'))
        assert picture is not None and picture.shape[1] >= width
        assert 0.05 < (picture.min(2) < 250).mean() < 0.95  # neither empty nor full
