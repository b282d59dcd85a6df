"""Figures of a report: training curves, confusion matrix, calibration and a sheet of predictions."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .metrics import Calibration, Predictions, confusion_matrix, most_confused
from .records import Curves, Points

RIGHT, WRONG, PALE = '#1b6ca8', '#c1272d', '#9db8cc'  # blue and red, distinct with color blindness too
GRID: dict[str, Any] = dict(color='#d9d9d9', linewidth=0.6)
MATRIX_CLASSES = 30  # names and counts stay readable up to here
SHEET_ROWS, SHEET_FRAMES, FRAME_HEIGHT = 8, 8, 72
ReadFrames = Callable[[str, int], np.ndarray]


def draw_curves(curves: Curves, chance: float, file: Path) -> None:
    """Plot loss, learning rate, accuracy, time and memory over training."""
    figure = Figure(figsize=(13, 7), layout='constrained')
    loss, accuracy, rate, time, memory, other = figure.subplots(2, 3).flat
    _plot(loss, {'training loss': curves.train['loss']}, curves.unit, yscale='log', title='Loss')
    accuracies = {'training batches': curves.train.get('top1_acc'), **_named(curves.val, 'top1', 'validation')}
    _plot(accuracy, accuracies, curves.unit, ylim=(0, 1.03), title='Top-1 accuracy')
    accuracy.axhline(chance, color='#777777', linewidth=1, linestyle=':', label='chance')
    if best := _best(curves):
        accuracy.plot(*best, 'o', markersize=10, markerfacecolor='none', color=WRONG, label='best epoch')
    accuracy.legend(loc='lower right', framealpha=1)
    _plot(rate, {'learning rate': curves.train.get('lr')}, curves.unit, title='Learning rate')
    times = {'iteration': curves.train.get('time'), 'waiting for data': curves.train.get('data_time')}
    _plot(time, times, curves.unit, title='Seconds per iteration')
    time.legend(framealpha=1)
    _plot(memory, {'memory': curves.train.get('memory')}, curves.unit, title='GPU memory in MiB')
    for axes in (time, memory):
        axes.set_ylim(bottom=0)
    _plot(other, {'norm': curves.train.get('grad_norm')}, curves.unit, yscale='log', title='Gradient norm')
    save(figure, file)


def _named(points: dict[str, Points], ending: str, name: str) -> dict[str, Points | None]:
    found = {key: values for key, values in points.items() if key.endswith(ending)}
    return {name if len(found) == 1 else key: values for key, values in found.items()}


def _best(curves: Curves) -> tuple[float, float] | None:
    points = next((values for key, values in curves.val.items() if key.endswith('top1')), [])
    return max(points, key=lambda point: (point[1], -point[0])) if points else None


def _plot(axes: Axes, lines: dict[str, Points | None], unit: str, **settings: Any) -> None:
    axes.set(xlabel=unit, **settings)
    axes.grid(**GRID)
    axes.spines[['top', 'right']].set_visible(False)
    drawn = {name: points for name, points in lines.items() if points}
    for (name, points), color in zip(drawn.items(), (RIGHT, PALE, WRONG, '#777777'), strict=False):
        axes.plot(*np.transpose(points), color=color, label=name, marker='.' if len(points) < 60 else None)
    if drawn:
        axes.set_xlim(left=0)
    else:
        axes.text(0.5, 0.5, 'not logged', ha='center', va='center', color='#777777', transform=axes.transAxes)


def draw_confusion(predictions: Predictions, file: Path) -> None:
    """Draw the counts of (label, predicted); of many classes those that are confused most."""
    matrix = confusion_matrix(predictions)
    chosen = np.arange(len(matrix)) if len(matrix) <= MATRIX_CLASSES else most_confused(matrix, MATRIX_CLASSES)
    share = matrix / matrix.sum(axis=1, keepdims=True).clip(min=1)
    matrix, share = matrix[np.ix_(chosen, chosen)], share[np.ix_(chosen, chosen)]
    names = [predictions.classes[index] for index in chosen]
    side = 3.2 + 0.42 * len(names)
    figure = Figure(figsize=(side, side - 0.4), layout='constrained')
    axes = figure.add_subplot()
    axes.imshow(share, cmap='Blues', vmin=0, vmax=1)
    for row, column in np.ndindex(*matrix.shape):
        if matrix[row, column]:
            color = 'white' if share[row, column] > 0.5 else 'black'
            axes.text(column, row, str(matrix[row, column]), ha='center', va='center', color=color, fontsize=9)
    axes.set_xticks(range(len(names)), names, rotation=40, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which='minor', **GRID)
    axes.tick_params(which='both', length=0)
    axes.set(xlabel='predicted', ylabel='label')
    all_classes = len(names) == len(predictions.classes)
    axes.set_title(
        tally(predictions) if all_classes else f'the {len(names)} most confused of {len(predictions.classes)} classes'
    )
    save(figure, file)


def draw_calibration(calibration: Calibration, file: Path) -> None:
    """Draw accuracy over confidence; the diagonal is perfect calibration, the width of a bar its share of clips."""
    figure = Figure(figsize=(5, 4.6), layout='constrained')
    axes = figure.add_subplot()
    bins = len(calibration.share)
    used = calibration.share > 0
    centers = (np.arange(bins) + 0.5) / bins
    opacity = 0.25 + 0.75 * calibration.share / calibration.share.max()
    bars = axes.bar(centers[used], calibration.accuracy[used], width=0.9 / bins, color=RIGHT)
    for bar, alpha in zip(bars, opacity[used], strict=True):
        bar.set_alpha(alpha)
    axes.plot([0, 1], [0, 1], color='#777777', linewidth=1, linestyle=':')
    axes.plot(calibration.confidence[used], calibration.accuracy[used], 'o', color=WRONG, markersize=4)
    axes.set(xlabel='confidence', ylabel='accuracy', xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title(f'expected calibration error {calibration.error:.3f}; darker bars hold more clips', fontsize=10)
    axes.grid(**GRID)
    axes.set_axisbelow(True)
    save(figure, file)


def choose_clips(predictions: Predictions) -> tuple[list[int], list[int]]:
    """Choose the clips to show: mistakes by falling confidence, and the first clip of each class."""
    wrong = np.flatnonzero(~predictions.correct)
    mistakes = wrong[np.argsort(-predictions.confidence[wrong], kind='stable')]
    first = [int(np.flatnonzero(predictions.labels == label)[0]) for label in np.unique(predictions.labels)]
    return [int(clip) for clip in mistakes[:SHEET_ROWS]], first[:SHEET_ROWS]


def draw_predictions(predictions: Predictions, file: Path, read_frames: ReadFrames) -> None:
    """Draw clips as rows of frames, with label, prediction and its probability.

    Args:
        read_frames: called with a video and a number of frames, returns so many, (T, H, W, 3) uint8 RGB, spread over
            the video.
    """
    heads = ('Worst mistakes, most confident first', 'First clip of each class')
    figure = Figure(figsize=(17, 1.35 * SHEET_ROWS + 0.8), layout='constrained')
    figure.suptitle(tally(predictions), fontsize=12)
    grid = figure.subplots(SHEET_ROWS, 2, squeeze=False)
    for axes in grid.flat:
        axes.axis('off')
    for column, (clips, head) in enumerate(zip(choose_clips(predictions), heads, strict=True)):
        grid[0, column].set_title(f'{head}\n', fontsize=13, fontweight='bold', loc='left')
        if not clips:
            grid[0, column].text(0, 0.5, 'none', fontsize=11)
        for row, clip in enumerate(clips):
            axes = grid[row, column]
            axes.imshow(filmstrip(read_frames(predictions.paths[clip], SHEET_FRAMES)), interpolation='nearest')
            text, color = caption(predictions, clip)
            axes.text(0, 1.04, text, color=color, fontsize=11, transform=axes.transAxes, va='bottom')
    save(figure, file)


def filmstrip(frames: Iterable[np.ndarray], gap: int = 4) -> np.ndarray:
    """Place frames side by side at one height, on white."""
    strips = []
    for frame in frames:
        height, width = frame.shape[:2]
        size = (max(1, round(width * FRAME_HEIGHT / height)), FRAME_HEIGHT)
        smaller = cv2.INTER_AREA if height > FRAME_HEIGHT else cv2.INTER_NEAREST
        resized = cv2.resize(frame, size, interpolation=smaller)
        strips.append(np.pad(resized, ((0, 0), (0, gap), (0, 0)), constant_values=255))
    return np.concatenate(strips, axis=1)[:, :-gap]


def tally(predictions: Predictions) -> str:
    """Return how many clips are correct, in words."""
    return f'{int(predictions.correct.sum())} of {predictions.total} clips correct'


def caption(predictions: Predictions, clip: int) -> tuple[str, str]:
    """Return a line on a clip and its color."""
    label, predicted = predictions.labels[clip], predictions.predicted[clip]
    probability = f'{predictions.scores[clip, predicted]:.2f}'
    if label == predicted:
        return f'{predictions.classes[label]}: correct ({probability})', RIGHT
    return f'{predictions.classes[label]}: predicted as {predictions.classes[predicted]} ({probability})', WRONG


def save(figure: Figure, file: Path) -> None:
    """Write a figure as PNG."""
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110, facecolor='white')
