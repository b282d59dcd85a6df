"""``vidtx benchmark-data``."""

import re
import tempfile
from pathlib import Path

import click

from .frame import command as make_command
from .frame import write_record


def _sizes(ctx: click.Context, option: click.Parameter, values: tuple[str, ...]) -> list[tuple[int, int]]:
    sizes = [re.fullmatch(r'(\d+)x(\d+)', value) for value in values]
    for value, size in zip(values, sizes, strict=True):
        if size is None:
            raise click.BadParameter(f'{value!r} is not a size such as 340x256')
    return [(int(size[1]), int(size[2])) for size in sizes if size]


@make_command('vidtx benchmark-data configs/uniformer_s_k400.py --against ../vidtx_mm_before --workers 2')
@click.argument('configs', nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option('--size', 'sizes', multiple=True, default=('340x256', '1280x720'), callback=_sizes, help='Of the videos.')
@click.option('--short-side', type=int, help='Measure the decoder with this short side, too.')
@click.option(
    '--against',
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help='Another checkout, for instance of an earlier version, with a config of the same name.',
)
@click.option('--workers', type=int, default=0, show_default=True, help='Of a data loader; 0: do not measure it.')
@click.option('--videos', type=int, default=4, show_default=True, help='Videos of each size.')
@click.option('--clips', type=int, default=16, show_default=True, help='Clips of a round.')
@click.option('--rounds', type=int, default=5, show_default=True)
@click.option('--leak', type=int, help='Print the memory of a process over this many clips instead.')
@click.option('--out', type=Path, help='Write the numbers, the machine and the versions as JSON.')
def command(
    configs: tuple[Path, ...],
    sizes: list[tuple[int, int]],
    short_side: int | None,
    against: Path | None,
    workers: int,
    videos: int,
    clips: int,
    rounds: int,
    leak: int | None,
    out: Path | None,
) -> int:
    """Measure training pipelines in milliseconds per clip and step, and in clips per second.

    The pipeline of each config runs beside the same with MMAction2's decoder and, with --against, that of another
    checkout, in turn and with the same seeds; ratios are to the last of them. Milliseconds are processor time. Videos
    are generated: H.264, 30 frames per second, 300 frames, a key frame every 250.
    """
    from vidtx_mm.benchmark import data

    sides = [data.Side('ours'), data.Side("MMAction2's decoder", decoder={'host': True})]
    if short_side:
        sides.insert(1, data.Side(f'short_side={short_side}', decoder={'short_side': short_side}))
    if against:
        sides.append(data.Side(against.name, checkout=against.resolve()))
    rows = []
    for width, height in sizes:
        with tempfile.TemporaryDirectory() as folder:
            files = [Path(folder) / f'{seed}.mp4' for seed in range(videos)]
            for seed, file in enumerate(files):
                data.write_video(file, width, height, seed=seed)
            for config in configs:
                click.echo(f'{config.stem}, {width}x{height} ...', err=True)
                paths = list(map(str, files))
                if leak:
                    memory = data.leak(config.resolve(), paths, leak)
                    click.echo(f'{config.stem}, {width}x{height}: MiB after each tenth of {leak:,} clips: {memory}')
                    continue
                measured = data.measure(config.resolve(), paths, sides, rounds, clips, workers)
                rows += [dict(row, video=f'{width}x{height}') for row in measured]
    if rows:
        click.echo(data.table(rows))
    if out:
        write_record(out, rows=rows)
    return 0
