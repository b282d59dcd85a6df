"""Numbers of a report: accuracy by class, confusions and calibration."""

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

BINS = 10


@dataclass(frozen=True)
class Predictions:
    """Scores of N clips with one label each.

    Attributes:
        paths: the videos.
        labels: (N,) class indices.
        scores: (N, classes) probabilities.
        classes: names by index.
        unreadable: videos without scores and the reasons; they count as wrong.
        missing_labels: the labels of those videos.
    """

    paths: list[str]
    labels: np.ndarray
    scores: np.ndarray
    classes: list[str]
    unreadable: dict[str, str] = field(default_factory=dict)
    missing_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, int))

    @property
    def predicted(self) -> np.ndarray:
        return self.scores.argmax(1)

    @property
    def correct(self) -> np.ndarray:
        return self.predicted == self.labels

    @property
    def confidence(self) -> np.ndarray:
        return self.scores.max(1)

    @property
    def total(self) -> int:
        """Clips, those without scores included."""
        return len(self.labels) + len(self.missing_labels)

    def top(self, k: int) -> float:
        """Return the share of clips with the label among the ``k`` best classes."""
        best = np.argsort(-self.scores, axis=1, kind='stable')[:, :k]
        return float((best == self.labels[:, None]).any(1).sum() / self.total)


def to_probabilities(scores: np.ndarray) -> np.ndarray:
    """Return scores (N, classes) as they are if each row is a distribution, else their softmax."""
    if scores.size == 0 or (scores.min() >= 0 and np.allclose(scores.sum(1), 1, atol=1e-3)):
        return scores
    shifted = np.exp(scores - scores.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def confusion_matrix(predictions: Predictions) -> np.ndarray:
    """Return the counts of (label, predicted class)."""
    count = len(predictions.classes)
    matrix = np.zeros((count, count), int)
    np.add.at(matrix, (predictions.labels, predictions.predicted), 1)
    return matrix


def most_confused(matrix: np.ndarray, limit: int) -> np.ndarray:
    """Return the indices, ascending, of the ``limit`` classes that take part in the largest confusions."""
    mistakes = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-mistakes, axis=None, kind='stable')
    chosen: dict[int, None] = {}
    for pair in zip(*np.unravel_index(order, matrix.shape), strict=True):
        if len(chosen) + len({*map(int, pair)} - chosen.keys()) > limit:
            break
        chosen.update(dict.fromkeys(map(int, pair)))
    return np.array(sorted(chosen))


@dataclass(frozen=True)
class ClassRow:
    """One class: clips with its label, the share of them recognized, the share of its predictions that are right, and
    the class it is most often taken for. Shares without any clip are None."""

    name: str
    support: int
    recall: float | None
    precision: float | None
    taken_for: str


def class_rows(predictions: Predictions) -> list[ClassRow]:
    """Return a row for each class, in the order of the indices."""
    matrix = confusion_matrix(predictions)
    missing = np.bincount(predictions.missing_labels.astype(int), minlength=len(matrix))
    rows = []
    for index, name in enumerate(predictions.classes):
        support, predicted = int(matrix[index].sum() + missing[index]), int(matrix[:, index].sum())
        others = matrix[index].copy()
        others[index] = 0
        rows.append(
            ClassRow(
                name,
                support,
                matrix[index, index] / support if support else None,
                matrix[index, index] / predicted if predicted else None,
                predictions.classes[int(others.argmax())] if others.any() else '',
            )
        )
    return rows


def mean_class_accuracy(rows: list[ClassRow]) -> float:
    """Return the mean recall of the classes that have clips."""
    return float(np.mean([row.recall for row in rows if row.recall is not None]))


@dataclass(frozen=True)
class Calibration:
    """Mean confidence, accuracy and share of clips of each bin of confidence; the expected calibration error."""

    confidence: np.ndarray
    accuracy: np.ndarray
    share: np.ndarray
    error: float


def calibrate(predictions: Predictions) -> Calibration:
    """Compare confidence and accuracy in ten equal bins (Guo et al., arXiv 1706.04599)."""
    bins = np.minimum((predictions.confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    with np.errstate(invalid='ignore'):
        confidence = np.bincount(bins, predictions.confidence, BINS) / counts
        accuracy = np.bincount(bins, predictions.correct, BINS) / counts
    share = counts / max(counts.sum(), 1)
    error = float(np.nansum(share * np.abs(confidence - accuracy)))
    return Calibration(confidence, accuracy, share, error)


def write_tables(predictions: Predictions, rows: list[ClassRow], folder: Path) -> None:
    """Write per_class.csv, confusion.csv (nonzero cells) and predictions.csv."""
    matrix = confusion_matrix(predictions)
    names = predictions.classes
    tables: dict[str, list[tuple[object, ...]]] = {
        'per_class.csv': [
            ('class', 'clips', 'recall', 'precision', 'most often taken for'),
            *((r.name, r.support, _share(r.recall), _share(r.precision), r.taken_for) for r in rows),
        ],
        'confusion.csv': [
            ('label', 'predicted', 'clips'),
            *((names[i], names[j], matrix[i, j]) for i, j in zip(*np.nonzero(matrix), strict=True)),
        ],
        'predictions.csv': [
            ('video', 'label', 'predicted', 'confidence', 'correct'),
            *(
                (path, names[label], names[predicted], f'{confidence:.4f}', int(correct))
                for path, label, predicted, confidence, correct in zip(
                    predictions.paths,
                    predictions.labels,
                    predictions.predicted,
                    predictions.confidence,
                    predictions.correct,
                    strict=True,
                )
            ),
            *(
                (path, names[label], '', '', 0)
                for path, label in zip(predictions.unreadable, predictions.missing_labels, strict=True)
            ),
        ],
    }
    for name, table in tables.items():
        with (folder / name).open('w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(table)


def _share(value: float | None) -> str:
    return '' if value is None else f'{value:.4f}'
