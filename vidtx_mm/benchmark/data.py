"""Time the training pipelines of configs, beside other decoders and another checkout."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np

from . import data_side
from .checkouts import Child


def write_video(path: Path, width: int, height: int, frames: int = 300, seed: int = 0) -> None:
    """Encode a moving texture with some noise: H.264 with 30 frames per second and a key frame every 250."""
    import av

    rng = np.random.default_rng(seed)
    side = max(width, height) + 200
    texture: Any = np.zeros((side, side, 3), np.uint8)
    for cells, share in ((8, 0.5), (32, 0.25), (128, 0.25)):
        octave = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        texture = cv2.add(texture, cv2.resize(octave, (side, side), interpolation=cv2.INTER_CUBIC) * share, dtype=0)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=Fraction(30), options=dict(g='250', preset='veryfast'))
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for t in range(frames):
            y, x = (int(100 + 90 * wave) for wave in (np.sin(t / 23), np.cos(t / 31)))
            image: Any = texture[y : y + height, x : x + width].copy()
            cv2.circle(image, (3 * t % width, height // 2), height // 6, (200, 40, 90), -1)
            image = cv2.add(image, rng.integers(0, 12, image.shape, dtype=np.uint8))
            for packet in stream.encode(av.VideoFrame.from_ndarray(image)):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


@dataclass
class Side:
    """A pipeline that is measured: a config with a decoder, in this checkout or in another.

    Attributes:
        name: label in the tables.
        decoder: options of ``VideoInit``, or ``{'host': True}`` for MMAction2's decoder.
        checkout: folder of another checkout, whose config of the same name is taken.
    """

    name: str
    decoder: dict[str, Any] = field(default_factory=dict)
    checkout: Path | None = None


def _child(side: Side, config: Path, videos: list[str]) -> Child:
    config = side.checkout / 'configs' / config.name if side.checkout else config
    argument = dict(config=str(config), videos=videos, decoder=side.decoder)
    return Child(side.name, data_side.__file__, argument, side.checkout)


@contextmanager
def _children(sides: list[Side], config: Path, videos: list[str]) -> Iterator[list[Child]]:
    with ExitStack() as stack:
        children = [_child(side, config, videos) for side in sides]
        for child in children:
            stack.callback(child.close)
        yield children


def measure(
    config: Path, videos: list[str], sides: list[Side], rounds: int, clips: int, workers: int
) -> list[dict[str, Any]]:
    """Run the sides in turn, on the same videos and seeds, and return a row for each.

    A row holds the milliseconds of processor time that each step takes for a clip (median over rounds) and their total,
    the total divided by that of the last side in the same round (median, least, most), and the clips per second of one
    process and of a data loader with ``workers``.
    """
    with _children(sides, config, videos) as children:
        for child in children:
            child('run', 0, 2)  # warm up
        results: list[list[dict[str, Any]]] = [[] for _ in children]
        for number in range(rounds):
            for child, result in zip(children, results, strict=True):
                result.append(child('run', number * clips, clips))
        loaded = [child('load', workers, 4 * clips) if workers else None for child in children]
    totals = [[sum(time for _, time in one['steps']) for one in result] for result in results]
    rows = []
    for side, result, total, per_second_loaded in zip(sides, results, totals, loaded, strict=True):
        ratios = [ours / last for ours, last in zip(total, totals[-1], strict=True)]
        steps = zip(*(one['steps'] for one in result), strict=True)
        rows.append(
            dict(
                config=config.stem,
                side=side.name,
                steps=[(same[0][0], median(time for _, time in same)) for same in steps],
                total=median(total),
                ratio=dict(median=median(ratios), least=min(ratios), most=max(ratios)),
                per_second=median(one['per_second'] for one in result),
                per_second_with_workers=per_second_loaded,
            )
        )
    return rows


def leak(config: Path, videos: list[str], clips: int) -> list[float]:
    """Return the MiB of a process after each tenth of ``clips`` clips."""
    with _children([Side('ours')], config, videos) as (child,):
        return child('leak', clips)


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table; a ratio is median (least-most)."""
    head = ('config', 'video', 'pipeline', 'ms per clip', 'ratio', 'clips/s', 'clips/s with workers', 'ms of each step')
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in (head, ('---',) * len(head), *map(_cells, rows)))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    ratio, loaded = row['ratio'], row['per_second_with_workers']
    return (
        row['config'],
        row['video'],
        row['side'],
        f'{row["total"]:.0f}',
        f'{ratio["median"]:.2f} ({ratio["least"]:.2f}-{ratio["most"]:.2f})',
        f'{row["per_second"]:.1f}',
        '-' if loaded is None else f'{loaded:.1f}',
        ', '.join(f'{name} {time:.1f}' for name, time in row['steps'] if time >= 0.05),
    )
