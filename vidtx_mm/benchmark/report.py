"""Compute and print statistics of the measurements."""

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from .worker import Finished, Settings

PACKAGES = ('vidtx_mm', 'torch', 'mmengine', 'mmaction2', 'mmcv', 'mmcv-lite', 'transformers', 'numpy')
COLUMNS = (
    'model',
    'mode',
    'batch',
    'ours',
    'reference',
    'time ratio',
    'ours MiB',
    'reference MiB',
    'MiB ratio',
    'difference',
    'TFLOP/s',
    'of GEMM rate',
)


def summarize(
    name: str, settings: Settings, seconds: dict[str, list[float]], finished: dict[str, Finished], weights: str
) -> dict[str, Any]:
    """Return one row: seconds and MiB of each side, and their ratios.

    Ratios are ours divided by the reference. The time ratio is the median over pairs of consecutive runs, with their
    minimum and maximum. ``difference`` is the largest absolute difference of the outputs on the same weights, None on
    others.
    """
    sides = {role: _side(seconds[role], finished[role]) for role in seconds}
    row: dict[str, Any] = dict(name=name, settings=asdict(settings), weights=weights, **sides)
    if 'reference' not in sides:
        return row | dict(reference=None, time_ratio=None, memory_ratio=None, difference=None)
    ratios = [ours / theirs for ours, theirs in zip(seconds['ours'], seconds['reference'], strict=True)]
    return row | dict(
        time_ratio=dict(median=median(ratios), least=min(ratios), most=max(ratios)),
        memory_ratio=finished['ours'].peak_mib / finished['reference'].peak_mib,
        difference=_difference(finished) if weights == "the reference's" else None,
    )


def _side(seconds: list[float], finished: Finished) -> dict[str, Any]:
    return dict(
        seconds=seconds,
        median=median(seconds),
        least=min(seconds),
        most=max(seconds),
        peak_mib=finished.peak_mib,
        idle_mib=finished.idle_mib,
    )


def _difference(finished: dict[str, Finished]) -> float | None:
    ours, theirs = finished['ours'].output, finished['reference'].output
    if ours is None or theirs is None:
        return None
    if ours.shape != theirs.shape:
        raise ValueError(f'outputs differ in shape: ours {ours.shape}, the reference {theirs.shape}')
    return float(np.abs(ours - theirs).max())


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table, with seconds and ratios as median (min-max).

    The last columns are the rate of our matrix products, attention and convolutions, and its share of the measured rate
    of large matrix products.
    """
    return markdown(COLUMNS, map(_cells, rows))


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a Markdown table."""
    return '\n'.join('| ' + ' | '.join(map(str, line)) + ' |' for line in (head, ('---',) * len(head), *rows))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ours, theirs = row['ours'], row['reference']
    own = (row['name'], row['settings']['mode'], str(row['settings']['batch']), _spread(ours, ' s'))
    rate = row['flops'] / ours['median']
    rates = (f'{rate / 1e12:.3g}', f'{100 * rate / row["gemm_rate"]:.0f} %')
    if theirs is None:
        return (*own, '-', '-', f'{ours["peak_mib"]:.0f}', '-', '-', '-', *rates)
    difference = '-' if row['difference'] is None else f'{row["difference"]:.1e}'
    return (
        *own,
        _spread(theirs, ' s'),
        _spread(row['time_ratio']),
        f'{ours["peak_mib"]:.0f}',
        f'{theirs["peak_mib"]:.0f}',
        f'{row["memory_ratio"]:.2f}',
        difference,
        *rates,
    )


def _spread(value: dict[str, Any], unit: str = '') -> str:
    return f'{value["median"]:.3g}{unit} ({value["least"]:.3g}-{value["most"]:.3g})'


def machine() -> dict[str, Any]:
    """Describe this machine."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return dict(
        processor=_processor(), cores=os.cpu_count(), gpu=gpu, system=platform.platform(), load=os.getloadavg()[0]
    )


def _processor() -> str:
    info = Path('/proc/cpuinfo')
    names = info.read_text().splitlines() if info.exists() else []
    return next((line.split(':')[1].strip() for line in names if line.startswith('model name')), platform.processor())


def versions() -> dict[str, str]:
    """Return the installed versions of the packages involved."""
    found = {'python': platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
