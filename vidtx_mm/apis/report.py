"""The report of a run: what it learned, where it is wrong, and how training went."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from vidtx_mm.checks import choose
from vidtx_mm.reporting.figures import draw_calibration, draw_confusion, draw_curves, draw_predictions
from vidtx_mm.reporting.metrics import (
    Predictions,
    calibrate,
    class_rows,
    mean_class_accuracy,
    to_probabilities,
    write_tables,
)
from vidtx_mm.reporting.page import write_page
from vidtx_mm.reporting.records import read_curves
from vidtx_mm.video import VideoReader

from .models import choose_classes
from .predict import read
from .recognizer import Recognizer, find_run, load_recognizer

SPLITS = ('val', 'test')


@dataclass(frozen=True)
class Report:
    """Summary of a report, and its page."""

    page: Path
    correct: int
    top1: float
    top5: float
    mean_class: float
    calibration_error: float
    clips: int

    def __str__(self) -> str:
        return (
            f'{self.page}: top-1 {self.top1:.3f}, top-5 {self.top5:.3f}, mean over classes {self.mean_class:.3f} on '
            f'{self.clips} clips; expected calibration error {self.calibration_error:.3f}'
        )


def make_report(
    work_dir: str | Path,
    split: str = 'test',
    out: str | Path | None = None,
    dump: str | Path | None = None,
    device: str = 'auto',
    track: Callable[[Iterable[Any], str, int], Iterable[Any]] = lambda items, text, total: items,
) -> Report:
    """Test the best checkpoint of a run and write its report.

    Args:
        work_dir: the work dir of a run of any recognizer config.
        split: 'test' or 'val', the data set and views of that loader.
        out: the folder to write; by default ``<work_dir>/report``. It gets report.html, which holds everything,
            the figures as PNG, and per_class.csv, confusion.csv and predictions.csv.
        dump: scores of the same data set by ``mim test --dump``, which spare the test.
        device: as for torch, or 'auto'.
        track: shows progress over an iterable, see :func:`vidtx_mm.apis.progress.track`.

    Raises:
        FileNotFoundError: if the folder lacks a config, a checkpoint or a log.
        ValueError: if the config has no such data set, or its videos have several labels each.
        CheckpointError: if the checkpoint does not fit.
    """
    folder = Path(work_dir)
    curves = read_curves(folder)
    config, checkpoint = find_run(folder)
    cfg = Config.fromfile(config)
    dataset = _dataset(cfg, choose('split', split, SPLITS))
    if dump is None:
        predictions = _test(load_recognizer(run=folder, device=device), dataset, split, track)
    else:
        predictions = _read_dump(cfg, dataset, Path(dump))
    place = Path(out) if out is not None else folder / 'report'
    place.mkdir(parents=True, exist_ok=True)

    rows, calibration = class_rows(predictions), calibrate(predictions)
    report = Report(
        page=place / 'report.html',
        correct=int(predictions.correct.sum()),
        top1=predictions.top(1),
        top5=predictions.top(5),
        mean_class=mean_class_accuracy(rows),
        calibration_error=calibration.error,
        clips=predictions.total,
    )
    figures = {
        'Training': place / 'curves.png',
        'Confusion matrix': place / 'confusion.png',
        'Calibration': place / 'calibration.png',
        'Predictions': place / 'predictions.png',
    }
    draw_curves(curves, 1 / len(predictions.classes), figures['Training'])
    draw_confusion(predictions, figures['Confusion matrix'])
    draw_calibration(calibration, figures['Calibration'])
    draw_predictions(predictions, figures['Predictions'], read_frames)
    write_tables(predictions, rows, place)
    facts = {
        'top-1': f'{report.top1:.3f}',
        'top-5': f'{report.top5:.3f}',
        'mean over classes': f'{report.mean_class:.3f}',
        'clips': f'{report.clips:,}',
        'classes': f'{len(predictions.classes):,}',
        'calibration error': f'{report.calibration_error:.3f}',
    }
    notes = [f'Config {config.name}, checkpoint {checkpoint.name}, {split} split.']
    write_page(report.page, f'Report of {folder.resolve().name}', facts, figures, rows, predictions.unreadable, notes)
    return report


def _dataset(cfg: Config, split: str) -> Any:
    dataset = cfg[f'{split}_dataloader'].dataset
    if dataset.get('multi_class') or dataset.get('class_splits'):
        raise ValueError(f'{cfg.filename}: its videos have several labels each; a report needs one')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        return DATASETS.build(dataset)


def _test(recognizer: Recognizer, dataset: Any, split: str, track: Callable[..., Iterable[Any]]) -> Predictions:
    pipeline = recognizer.pipeline('test' if split == 'test' else 'one')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    scores: list[np.ndarray | str] = []
    for info in track(infos, f'{split} split', len(infos)):
        sample = read(pipeline, info['filename'])
        scores.append(sample if isinstance(sample, str) else recognizer.score([sample])[0])
    return _collect(recognizer.classes, infos, scores)


def _read_dump(cfg: Config, dataset: Any, dump: Path) -> Predictions:
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    samples = mmengine.load(dump)
    if [int(sample['gt_label']) for sample in samples] != [info['label'] for info in infos]:
        raise ValueError(
            f'{dump}: its {len(samples)} labels differ from the {len(infos)} of the data set; delete it and test again'
        )
    scores = [np.asarray(sample['pred_score'], float) for sample in samples]
    classes = choose_classes(cfg, len(scores[0])) or tuple(map(str, range(len(scores[0]))))
    return _collect(classes, infos, scores)


def _collect(classes: Sequence[str], infos: list[dict], scores: Sequence[np.ndarray | str]) -> Predictions:
    readable = [(info, row) for info, row in zip(infos, scores, strict=True) if not isinstance(row, str)]
    bad = [(info, row) for info, row in zip(infos, scores, strict=True) if isinstance(row, str)]
    if not readable:
        raise ValueError(
            f'none of the {len(infos)} videos can be read; the first one, {bad[0][0]["filename"]}: {bad[0][1]}'
        )
    return Predictions(
        paths=[info['filename'] for info, _ in readable],
        labels=np.array([info['label'] for info, _ in readable]),
        scores=to_probabilities(np.stack([row for _, row in readable]).astype(float)),
        classes=list(classes),
        unreadable={info['filename']: str(row) for info, row in bad},
        missing_labels=np.array([info['label'] for info, _ in bad], int),
    )


def read_frames(video: str, count: int) -> np.ndarray:
    """Read ``count`` frames (T, H, W, 3) spread evenly over a video; all of a shorter one."""
    with VideoReader(video, short_side=240) as reader:
        total = len(reader)
        return reader.get_frames(np.linspace(0, total - 1, min(count, total)).round().astype(int).tolist())
