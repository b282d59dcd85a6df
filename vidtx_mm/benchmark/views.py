"""Time the test of one video with several views, beside fixed numbers of views at a time and another checkout."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from . import views_side
from .checkouts import Child
from .report import markdown

HEAD = ('config', 'views at a time', 's per view', 'ratio', 'peak MiB', 'difference')


@dataclass
class Side:
    """A way to compute the views.

    ``views_at_a_time=None`` is the recognizer's choice, ``checkout=None`` the running package.
    """

    name: str
    views_at_a_time: int | None = None
    checkout: Path | None = None


@contextmanager
def _children(
    sides: list[Side], config: Path, shape: list[int], device: str, threads: int | None
) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        children = []
        for side in sides:
            file = side.checkout / 'configs' / config.name if side.checkout else config
            argument = dict(config=str(file), shape=shape, views_at_a_time=side.views_at_a_time, device=device)
            children.append(Child(side.name, views_side.__file__, argument, side.checkout, threads))
            stack.callback(children[-1].close)
        yield children


def measure(
    config: Path, shape: list[int], sides: list[Side], rounds: int, device: str, threads: int | None
) -> list[dict[str, Any]]:
    """Run the sides in turn on views of ``shape`` (views, C, T, H, W) and return a row for each.

    A row holds the seconds of a view, their ratio to those of the last side in the same round, the peak memory, and the
    largest difference of the scores to those of the last side.
    """
    with _children(sides, config, shape, device, threads) as children:
        for child in children:
            child('run')  # warm up
        results = [[child('run') for child in children] for _ in range(rounds)]
        peaks = [child('peak') for child in children]
    rows = []
    for index, (side, peak) in enumerate(zip(sides, peaks, strict=True)):
        seconds = [results[number][index][0] for number in range(rounds)]
        ratios = [round_[index][0] / round_[-1][0] for round_ in results]
        scores = zip(results[0][index][1], results[0][-1][1], strict=True)
        rows.append(
            dict(
                config=config.stem,
                side=side.name,
                seconds=median(seconds),
                ratio=dict(median=median(ratios), least=min(ratios), most=max(ratios)),
                peak_mib=peak,
                difference=max(abs(ours - theirs) for ours, theirs in scores),
            )
        )
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table; a ratio is median (least-most)."""
    return markdown(HEAD, map(_cells, rows))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ratio = row['ratio']
    return (
        row['config'],
        row['side'],
        f'{row["seconds"]:.3g}',
        f'{ratio["median"]:.2f} ({ratio["least"]:.2f}-{ratio["most"]:.2f})',
        f'{row["peak_mib"]:.0f}',
        f'{row["difference"]:.1e}',
    )
