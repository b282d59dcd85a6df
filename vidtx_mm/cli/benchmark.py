"""``vidtx benchmark``."""

from itertools import product
from pathlib import Path
from typing import Any

import click

from .frame import command as make_command
from .frame import write_record


@make_command('vidtx benchmark swin3d_t --mode forward --runs 7 --out benchmark.json')
@click.argument('pairs', nargs=-1, metavar='[PAIR]...')
@click.option('--mode', type=click.Choice(['forward', 'train']), multiple=True, help='May be repeated. [default: both]')
@click.option('--frames', type=int, help="Frames of a clip. [default: the pair's own]")
@click.option('--size', type=int, help="Height and width. [default: the pair's own]")
@click.option('--batch', type=click.IntRange(1), multiple=True, default=(1,), help='May be repeated. [default: 1]')
@click.option('--device', type=click.Choice(['cpu', 'cuda']), default='cpu', show_default=True)
@click.option('--precision', type=click.Choice(['fp32', 'bf16']), default='fp32', help='bf16 is autocast.')
@click.option('--compile', is_flag=True, help='torch.compile both sides.')
@click.option('--threads', type=int, help="[default: PyTorch's choice]")
@click.option('--runs', type=int, default=5, show_default=True, help='Measured runs of each side.')
@click.option('--warmup', type=int, default=1, show_default=True)
@click.option('--alone', is_flag=True, help='Measure ours without the reference.')
@click.option('--out', type=Path, help='Write the numbers, the machine and the versions as JSON.')
def command(
    pairs: tuple[str, ...],
    mode: tuple[str, ...],
    frames: int | None,
    size: int | None,
    batch: tuple[int, ...],
    runs: int,
    warmup: int,
    alone: bool,
    out: Path | None,
    **settings: Any,
) -> int:
    """Measure time, peak memory and output difference of our models beside the references.

    Both sides get the same weights and input. The pairs are listed in vidtx_mm/benchmark/pairs.py; without one, all are
    measured. Each side has its own process for each mode and batch, and runs alternate. TFLOP/s are those of our model,
    beside the rate of large matrix products. On a GPU a run is ten passes or steps, timed by CUDA events, and memory is
    the peak of PyTorch's allocator; give --warmup 3 or more with --compile.
    """
    from vidtx_mm.benchmark.pairs import PAIRS
    from vidtx_mm.benchmark.report import table
    from vidtx_mm.benchmark.run import MeasurementError, measure
    from vidtx_mm.benchmark.worker import MODES, Settings

    if unknown := [name for name in pairs if name not in PAIRS]:
        raise click.UsageError(f'unknown pair {", ".join(unknown)}; choose from {", ".join(PAIRS)}')
    rows, errors = [], []
    for name in pairs or PAIRS:
        pair = PAIRS[name].alone() if alone else PAIRS[name]
        for one, clips in product(mode or MODES, batch):
            wanted = Settings(one, clips, frames or pair.frames, size or pair.size, **settings)
            click.echo(f'{name}, {one}, batch {clips}: {runs} runs of each side ...', err=True)
            try:
                rows.append(measure(name, pair, wanted, runs, warmup))
            except MeasurementError as error:
                errors.append(str(error))
    click.echo(table(rows))
    for row in rows:
        if row['weights'].startswith('not mapped'):
            click.echo(f"{row['name']}: the reference's weights were {row['weights']}")
    for line in errors:
        click.echo(f'error: {line}', err=True)
    if out:
        write_record(out, rows=rows, errors=errors)
    return 1 if errors else 0
