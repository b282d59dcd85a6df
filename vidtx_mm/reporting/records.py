"""Training curves from the logs that MMEngine writes into a work dir."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curves:
    """Logged values over training, as (epoch, value) points; iterations in place of epochs where a run counts those.

    Attributes:
        unit: 'epoch' or 'iteration'.
        train: by key of the log: 'loss', 'lr', 'top1_acc', 'time', 'data_time', 'memory', ...
        val: by key of the evaluator, such as 'acc/top1'.
    """

    unit: str
    train: dict[str, Points] = field(default_factory=dict)
    val: dict[str, Points] = field(default_factory=dict)


def read_curves(work_dir: Path) -> Curves:
    """Read the logs of a run and of those that resumed it.

    Where a resumed run repeats iterations, the later log counts.

    Raises:
        FileNotFoundError: if the folder has no training log.
    """
    train: dict[int, dict[str, Any]] = {}
    val: dict[int, dict[str, Any]] = {}
    for file in sorted(work_dir.glob('*/vis_data/scalars.json')):  # folders are named by the time of their start
        for row in _rows(file):
            (train if 'loss' in row else val)[int(row.get('iter', row['step']) if 'loss' in row else row['step'])] = row
    if not train:
        raise FileNotFoundError(f'{work_dir} has no training log (*/vis_data/scalars.json): give the work dir of a run')
    by_epoch = all('epoch' in row for row in train.values())
    scale = _steps_per_epoch(train) if by_epoch else 1.0
    return Curves(
        unit='epoch' if by_epoch else 'iteration',
        train=_points(train, scale),
        val=_points(val, 1.0),
    )


def _rows(file: Path) -> list[dict[str, Any]]:
    """The JSON objects of a log; the last line of a killed run may be cut."""
    rows = []
    for line in file.read_text(encoding='utf-8').splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and 'step' in row:
            rows.append(row)
    return rows


def _steps_per_epoch(train: dict[int, dict[str, Any]]) -> float:
    """Iterations of an epoch, from the last logged one of each; at least as long as the log shows."""
    last: dict[int, int] = {}
    for step, row in train.items():
        last[row['epoch']] = max(step, last.get(row['epoch'], 0))
    return max(step / epoch for epoch, step in last.items())


def _points(rows: dict[int, dict[str, Any]], scale: float) -> dict[str, Points]:
    found: dict[str, Points] = {}
    for step in sorted(rows):
        for key, value in rows[step].items():
            if isinstance(value, int | float) and key not in ('step', 'iter', 'epoch'):
                found.setdefault(key, []).append((step / scale, float(value)))
    return found
