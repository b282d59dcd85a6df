"""``vidtx benchmark-serving``."""

from pathlib import Path

import click

from .frame import command as make_command
from .frame import write_record

DEFAULT = ('swin3d_t', 'uniformer_s', 'timesformer', 'vivit_b', 'vivit_b_fe')


@make_command('vidtx benchmark-serving swin3d_t uniformer_s --threads 2')
@click.argument('names', nargs=-1, metavar='[MODEL]...')
@click.option('--frames', type=click.IntRange(1), help="Frames of a clip. [default: the model's own]")
@click.option('--size', type=click.IntRange(1), help="Height and width. [default: the model's own]")
@click.option('--batch', type=click.IntRange(1), default=1, show_default=True)
@click.option('--threads', type=click.IntRange(1), help="[default: PyTorch's choice]")
@click.option('--runs', type=click.IntRange(1), default=5, show_default=True, help='Measured runs of each mode.')
@click.option('--out', type=Path, help='Write the numbers, the machine and the versions as JSON.')
def command(
    names: tuple[str, ...],
    frames: int | None,
    size: int | None,
    batch: int,
    threads: int | None,
    runs: int,
    out: Path | None,
) -> int:
    """Measure the modes of vidtx_mm.optimize on the CPU, and compare them with the limit of the machine.

    Models are named as in `vidtx benchmark`; without one, a model of each family is measured. Modes run in turn with
    the matrix products of the model's linear layers, whose rate gives the limit.
    """
    import torch

    from vidtx_mm.benchmark.pairs import PAIRS
    from vidtx_mm.benchmark.serving import measure_serving, serving_table

    if unknown := [name for name in names if name not in PAIRS]:
        raise click.UsageError(f'unknown model {", ".join(unknown)}; choose from {", ".join(PAIRS)}')
    if threads:
        torch.set_num_threads(threads)
    rows = []
    for name in names or DEFAULT:
        click.echo(f'{name}: preparing the modes, then {runs} runs of each ...', err=True)
        pair = PAIRS[name]
        rows += measure_serving(name, pair, frames or pair.frames, size or pair.size, batch, runs)
    click.echo(serving_table(rows))
    if out:
        write_record(out, rows=rows)
    return 0
