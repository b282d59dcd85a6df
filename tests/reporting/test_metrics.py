"""Numbers of a report, each by its definition on a few clips."""

import csv
from pathlib import Path

import numpy as np
import pytest

from vidtx_mm.reporting.figures import caption, choose_clips, filmstrip
from vidtx_mm.reporting.metrics import (
    Predictions,
    calibrate,
    class_rows,
    confusion_matrix,
    mean_class_accuracy,
    most_confused,
    to_probabilities,
    write_tables,
)

SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.5, 0.4, 0.1], [0.25, 0.35, 0.4]])
LABELS = np.array([0, 1, 1, 2])


def predictions(**changes: object) -> Predictions:
    return Predictions(**{**dict(paths=list('abcd'), labels=LABELS, scores=SCORES, classes=['x', 'y', 'z']), **changes})


def test_accuracies() -> None:
    found = predictions()
    assert (found.top(1), found.top(2), found.top(3)) == (0.75, 1.0, 1.0)
    assert confusion_matrix(found).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    rows = class_rows(found)
    assert [(row.support, row.recall, row.precision, row.taken_for) for row in rows] == [
        (1, 1.0, 0.5, ''),
        (2, 0.5, 1.0, 'x'),
        (1, 1.0, 1.0, ''),
    ]
    assert mean_class_accuracy(rows) == pytest.approx(5 / 6)


def test_unreadable_videos_count_as_wrong() -> None:
    found = predictions(unreadable={'e': 'cut'}, missing_labels=np.array([2]))
    assert found.total == 5 and found.top(1) == 0.6
    assert class_rows(found)[2].recall == 0.5 and class_rows(found)[2].support == 2


def test_scores_become_probabilities() -> None:
    assert to_probabilities(SCORES) is SCORES
    raw = np.array([[2.0, 0.0, -1.0], [100.0, 100.0, 0.0]])
    assert to_probabilities(raw)[0] == pytest.approx(np.exp(raw[0]) / np.exp(raw[0]).sum())
    assert to_probabilities(raw)[1] == pytest.approx([0.5, 0.5, 0.0])


def test_calibration_by_hand() -> None:
    """Confidences 0.7, 0.6, 0.5, 0.4 in bins of their own; the third clip is wrong."""
    found = calibrate(predictions())
    assert found.error == pytest.approx((0.3 + 0.4 + 0.5 + 0.6) / 4)
    assert found.share.sum() == pytest.approx(1)
    assert found.accuracy[5] == 0 and found.confidence[7] == pytest.approx(0.7)


def test_the_most_confused_classes_come_first() -> None:
    matrix = np.diag([50, 50, 50, 50, 50])
    matrix[4, 1], matrix[2, 3], matrix[0, 2] = 9, 5, 1
    assert most_confused(matrix, 2).tolist() == [1, 4]
    assert most_confused(matrix, 4).tolist() == [1, 2, 3, 4]


def test_clips_of_the_sheet() -> None:
    found = predictions()
    assert choose_clips(found) == ([2], [0, 1, 3])
    assert caption(found, 2)[0] == 'y: predicted as x (0.50)' and caption(found, 0)[0] == 'x: correct (0.70)'
    strip = filmstrip(np.zeros((3, 36, 20, 3), np.uint8))
    assert strip.shape == (72, 3 * 40 + 2 * 4, 3)


def test_the_sheet_shows_the_surest_mistakes_first() -> None:
    labels = np.arange(24) % 8
    scores = np.full((24, 8), 0.02)
    scores[np.arange(24), labels] = 0.5
    for clip in (0, 9, 12, 20):
        scores[clip, (labels[clip] + 1) % 8] = 0.6 + 0.01 * clip
    found = Predictions(
        list(map(str, labels)), labels, to_probabilities(scores / scores.sum(1)[:, None]), list('abcdefgh')
    )
    mistakes, first = choose_clips(found)
    assert mistakes == [20, 12, 9, 0] and first == list(range(8))


def test_a_filmstrip_keeps_the_order_of_frames() -> None:
    frames = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 36, 4, 3), np.uint8)
    strip = filmstrip(frames, gap=1)
    assert strip.shape == (72, 3 * 8 + 2, 3)
    assert strip[0, [0, 8, 9, 17, 18], 0].tolist() == [0, 255, 1, 255, 2]


def test_tables(tmp_path: Path) -> None:
    found = predictions(unreadable={'e': 'cut'}, missing_labels=np.array([2]))
    write_tables(found, class_rows(found), tmp_path)
    tables = {path.name: list(csv.reader(path.open())) for path in tmp_path.iterdir()}
    assert tables['confusion.csv'][1:] == [['x', 'x', '1'], ['y', 'x', '1'], ['y', 'y', '1'], ['z', 'z', '1']]
    assert tables['per_class.csv'][2] == ['y', '2', '0.5000', '1.0000', 'x']
    assert tables['predictions.csv'][3] == ['c', 'y', 'x', '0.5000', '0'] and tables['predictions.csv'][-1][0] == 'e'
