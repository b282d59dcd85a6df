"""Compare the serving modes of our models with one another and with the limit of the machine."""

from functools import partial
from statistics import median
from typing import Any

import torch

from ..apis.optimize import MODES, prepare_all, time_in_turn
from .complexity import count
from .gemm import GemmRate, linear_products
from .pairs import Pair
from .report import markdown

COLUMNS = ('model', 'mode', 'time per call', 'ratio to eager', 'ratio to the limit', 'difference')


def measure_serving(name: str, pair: Pair, frames: int, size: int, batch: int, rounds: int) -> list[dict[str, Any]]:
    """Time one of our models in each serving mode, in turn with the matrix products of its linear layers.

    The limit is the time of all multiply-adds of the model at the rate of these products, measured in each round.

    Returns:
        A row per mode: seconds, ratios to eager and to the limit of each round, and the largest difference to eager.
    """
    shape = (batch, 3, frames, size, size)
    with torch.device('meta'):
        hollow = pair.ours.build()
    flops = 2 * count(hollow, shape).macs
    rate = GemmRate(linear_products(hollow, shape))
    torch.manual_seed(0)
    model, clips = pair.ours.build().eval(), torch.randn(shape)
    modes = prepare_all(model, clips, list(MODES))
    seconds = time_in_turn({mode: partial(run, clips) for mode, run in modes.items()} | {'limit': rate}, rounds)
    limits = [time * flops / rate.flops for time in seconds.pop('limit')]
    return [
        dict(
            name=name,
            mode=mode,
            shape=shape,
            seconds=times,
            of_eager=_ratios(times, seconds['eager']),
            of_limit=_ratios(times, limits),
            difference=modes[mode].difference,
        )
        for mode, times in seconds.items()
    ]


def _ratios(times: list[float], others: list[float]) -> list[float]:
    return [time / other for time, other in zip(times, others, strict=True)]


def serving_table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table, with seconds and ratios as median (min-max)."""
    return markdown(COLUMNS, map(_cells, rows))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    spreads = (spread(row['seconds'], ' s'), spread(row['of_eager']), spread(row['of_limit']))
    return row['name'], row['mode'], *spreads, f'{row["difference"]:.1e}'


def spread(values: list[float], unit: str = '') -> str:
    """Format the median, minimum and maximum."""
    return f'{median(values):.3g}{unit} ({min(values):.3g}-{max(values):.3g})'
