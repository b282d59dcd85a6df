"""Read the records of MMAction2, and draw confusion matrix, training curves and a sheet of predictions."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from matplotlib.figure import Figure

from vidtx_mm.video import VideoReader

RIGHT, WRONG = '#1b6ca8', '#c1272d'  # blue and red, distinct with color blindness too
GRID: dict[str, Any] = dict(color='#d9d9d9', linewidth=0.6)
SHEET_ROWS = 8


@dataclass(frozen=True)
class Predictions:
    """Predictions for N held-out clips, in the order of their list: ``labels`` (N,) and ``scores`` (N, classes)."""

    paths: list[Path]
    labels: np.ndarray
    scores: np.ndarray
    classes: list[str]

    @property
    def predicted(self) -> np.ndarray:
        return self.scores.argmax(1)

    @property
    def correct(self) -> np.ndarray:
        return self.predicted == self.labels

    def summary(self) -> str:
        """Return the last line of the demo. The accuracy is rounded down, so that 0.95 means at least 0.95."""
        percent = 100 * int(self.correct.sum()) // len(self.labels)
        return f'demo: top-1 {percent // 100}.{percent % 100:02d} on {len(self.labels)} held-out clips'


def read_predictions(dump: Path, root: Path, split: str = 'test') -> Predictions:
    """Read the dump of ``mim test --dump`` and the list of its clips.

    Raises ``ValueError`` if their labels differ.
    """
    rows = [line.rsplit(maxsplit=1) for line in (root / f'{split}.txt').read_text().splitlines()]
    labels = np.array([int(label) for _, label in rows])
    samples = mmengine.load(dump)
    dumped = np.array([int(sample['gt_label']) for sample in samples])
    if not np.array_equal(dumped, labels):
        raise ValueError(
            f'{dump}: its {len(dumped)} labels differ from {root / f"{split}.txt"} ({len(labels)} clips); '
            'delete it and test again'
        )
    scores = np.stack([np.asarray(sample['pred_score'], dtype=float) for sample in samples])
    classes = (root / 'classes.txt').read_text().splitlines()
    return Predictions([root / path for path, _ in rows], labels, scores, classes)


@dataclass(frozen=True)
class Curves:
    """Training loss, training accuracy and validation accuracy as (epoch, value) points."""

    loss: list[tuple[float, float]]
    train: list[tuple[float, float]]
    val: list[tuple[float, float]]

    @property
    def best(self) -> tuple[float, float]:
        """Return the first epoch of the best validation accuracy, which MMEngine's checkpoint hook keeps."""
        return max(self.val, key=lambda point: (point[1], -point[0]))


def read_curves(scalars: Path, steps_per_epoch: int) -> Curves:
    """Read ``scalars.json`` of MMEngine's LocalVisBackend: one JSON object per line, of training or validation."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in scalars.read_text().splitlines() if line.strip()]
    train = [row for row in rows if 'loss' in row]
    if not train:
        raise ValueError(f'{scalars} has no training loss; delete its run folder and train again')
    return Curves(
        loss=[(row['iter'] / steps_per_epoch, row['loss']) for row in train],
        train=[(row['iter'] / steps_per_epoch, row['top1_acc']) for row in train],
        val=[(row['step'], row['acc/top1']) for row in rows if 'acc/top1' in row],
    )


def draw_confusion(predictions: Predictions, file: Path) -> None:
    """Draw the counts of (true, predicted) with the class names."""
    names, count = predictions.classes, len(predictions.classes)
    matrix = np.zeros((count, count), dtype=int)
    np.add.at(matrix, (predictions.labels, predictions.predicted), 1)
    share = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    figure = Figure(figsize=(7.2, 6.6), layout='constrained')
    axes = figure.add_subplot()
    axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        if matrix[row, column]:
            color = 'white' if share[row, column] > 0.5 else 'black'
            axes.text(column, row, str(matrix[row, column]), ha='center', va='center', color=color)
    axes.set_xticks(range(count), names, rotation=40, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(count), names)
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which='minor', **GRID)
    axes.tick_params(which='both', length=0)
    axes.set(xlabel='predicted', ylabel='true')
    axes.set_title(tally(predictions))
    save(figure, file)


def draw_curves(curves: Curves, chance: float, file: Path) -> None:
    """Plot the training loss (logarithmic) on the left, and training and validation accuracy on the right."""
    figure = Figure(figsize=(10, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    left.plot(*np.transpose(curves.loss), color=RIGHT)
    left.set(xlabel='epoch', ylabel='cross-entropy', yscale='log', title='Training loss')
    right.plot(*np.transpose(curves.train), color='#9db8cc', linewidth=1, label='training batches, mirrored clips too')
    right.plot(*np.transpose(curves.val), color=RIGHT, marker='.', label='validation')
    right.plot(*curves.best, 'o', markersize=10, markerfacecolor='none', color=WRONG, label='tested epoch')
    right.axhline(chance, color='#777777', linewidth=1, linestyle=':', label='chance')
    right.set(xlabel='epoch', ylabel='top-1', ylim=(0, 1.03), title='Accuracy')
    right.legend(loc='lower right', framealpha=1)
    for axes in (left, right):
        axes.grid(**GRID)
        axes.set_xlim(left=0)
        axes.spines[['top', 'right']].set_visible(False)
    save(figure, file)


def read_clip(path: Path) -> np.ndarray:
    """Read all frames of a video, (T, H, W, 3) uint8 RGB."""
    with VideoReader(path) as reader:
        return reader.get_frames(range(len(reader)))


def choose(predictions: Predictions) -> tuple[list[int], list[int]]:
    """Choose clips to show: the first of each class, then mistakes by falling confidence, then second clips."""
    seen = [np.flatnonzero(predictions.labels == label) for label in range(len(predictions.classes))]
    first = [int(clips[0]) for clips in seen if len(clips)]
    confidence = predictions.scores.max(1)
    wrong = sorted(set(np.flatnonzero(~predictions.correct).tolist()) - set(first), key=lambda i: -confidence[i])
    second = [int(clips[1]) for clips in seen if len(clips) > 1 and clips[1] not in wrong]
    return first[:SHEET_ROWS], (wrong + second)[:SHEET_ROWS]


def filmstrip(frames: np.ndarray, zoom: int = 3, gap: int = 4) -> np.ndarray:
    """Place (T, H, W, 3) frames side by side, enlarged by ``zoom``, on white."""
    frames = frames.repeat(zoom, axis=1).repeat(zoom, axis=2)
    padded = np.pad(frames, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=255)
    return np.concatenate(list(padded), axis=1)[:, :-gap]


def draw_predictions(predictions: Predictions, file: Path) -> None:
    """Draw clips as rows of frames, with true class, predicted class and its probability."""
    columns = choose(predictions)
    heads = ('First held-out clip of each class', 'Further held-out clips, mistakes first')
    figure = Figure(figsize=(17, 1.35 * SHEET_ROWS + 0.8), layout='constrained')
    title = f'{tally(predictions)}. Frames run from left to right; shapes wrap around at the borders'
    figure.suptitle(title, fontsize=12)
    grid = figure.subplots(SHEET_ROWS, 2, squeeze=False)
    for axes in grid.flat:
        axes.axis('off')
    for column, (clips, head) in enumerate(zip(columns, heads, strict=True)):
        grid[0, column].set_title(f'{head}\n', fontsize=13, fontweight='bold', loc='left')
        for row, clip in enumerate(clips):
            axes = grid[row, column]
            axes.imshow(filmstrip(read_clip(predictions.paths[clip])), interpolation='nearest')
            text, color = caption(predictions, clip)
            axes.text(0, 1.04, text, color=color, fontsize=11, transform=axes.transAxes, va='bottom')
    save(figure, file)


def tally(predictions: Predictions) -> str:
    return f'{int(predictions.correct.sum())} of {len(predictions.labels)} held-out clips correct'


def caption(predictions: Predictions, clip: int) -> tuple[str, str]:
    true, predicted = predictions.labels[clip], predictions.predicted[clip]
    probability = f'{predictions.scores[clip, predicted]:.2f}'
    if true == predicted:
        return f'{predictions.classes[true]}: correct ({probability})', RIGHT
    return f'{predictions.classes[true]}: predicted as {predictions.classes[predicted]} ({probability})', WRONG


def save(figure: Figure, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, facecolor='white')
