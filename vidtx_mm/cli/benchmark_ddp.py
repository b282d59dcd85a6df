"""``vidtx benchmark-ddp``."""

from pathlib import Path

import click

from .frame import command as make_command
from .frame import write_record


@make_command('vidtx benchmark-ddp swin3d_t uniformer_s --frames 8 --processes 2')
@click.argument('pairs', nargs=-1, required=True, metavar='PAIR...')
@click.option('--processes', type=click.IntRange(2), default=2, show_default=True, help='Of the group.')
@click.option('--frames', type=int, help="Frames of a clip. [default: the pair's own]")
@click.option('--size', type=int, help="Height and width. [default: the pair's own]")
@click.option('--batch', type=click.IntRange(1), default=1, show_default=True, help='Of each process.')
@click.option('--runs', type=click.IntRange(1), default=5, show_default=True, help='Measured steps.')
@click.option('--warmup', type=click.IntRange(0), default=1, show_default=True)
@click.option('--out', type=Path, help='Write the numbers, the machine and the versions as JSON.')
def command(
    pairs: tuple[str, ...],
    processes: int,
    frames: int | None,
    size: int | None,
    batch: int,
    runs: int,
    warmup: int,
    out: Path | None,
) -> None:
    """Measure how training steps scale over processes on the CPU.

    A process with one thread and a group of them under DistributedDataParallel (gloo) run in turn, each process with
    the same batch. The efficiency is the time of one divided by that of the group. The models are those of `vidtx
    benchmark`, with AdamW.
    """
    from vidtx_mm.benchmark.ddp import measure, table
    from vidtx_mm.benchmark.pairs import PAIRS
    from vidtx_mm.benchmark.worker import Settings

    if unknown := [name for name in pairs if name not in PAIRS]:
        raise click.UsageError(f'unknown pair {", ".join(unknown)}; choose from {", ".join(PAIRS)}')
    rows = []
    for name in pairs:
        pair = PAIRS[name]
        settings = Settings('train', batch, frames or pair.frames, size or pair.size, threads=1)
        click.echo(f'{name}: {runs} steps of 1 and of {processes} processes ...', err=True)
        rows.append(measure(name, pair.ours, settings, processes, runs, warmup))
    click.echo(table(rows))
    if out:
        write_record(out, rows=rows)
