"""``vidtx benchmark-views``."""

from pathlib import Path

import click

from .frame import command as make_command
from .frame import write_record


@make_command('vidtx benchmark-views configs/swin3d_t_k400.py --against ../vidtx_mm_before --at-a-time 1')
@click.argument('configs', nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option('--views', type=click.IntRange(1), default=12, show_default=True, help='Clips x crops of the video.')
@click.option('--shape', type=int, multiple=True, metavar='N ...', help="C T H W. [default: of the config's test]")
@click.option('--at-a-time', type=click.IntRange(1), multiple=True, help='Measure this fixed number, too.')
@click.option(
    '--against',
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help='Another checkout, for instance of an earlier version, with a config of the same name.',
)
@click.option('--device', type=click.Choice(['cpu', 'cuda']), default='cpu', show_default=True)
@click.option('--threads', type=int, help="[default: PyTorch's choice]")
@click.option('--rounds', type=click.IntRange(1), default=5, show_default=True)
@click.option('--out', type=Path, help='Write the numbers, the machine and the versions as JSON.')
def command(
    configs: tuple[Path, ...],
    views: int,
    shape: tuple[int, ...],
    at_a_time: tuple[int, ...],
    against: Path | None,
    device: str,
    threads: int | None,
    rounds: int,
    out: Path | None,
) -> None:
    """Measure the test of one video in seconds per view.

    The recognizer of each config, which chooses how many views it computes at a time, runs in turn with the same with
    fixed numbers, all views at once, and that of another checkout; ratios are to the last of them. The weights and the
    video are random.
    """
    from mmengine.config import Config

    from vidtx_mm.apis.recognizer import find_device
    from vidtx_mm.benchmark.complexity import view_shape
    from vidtx_mm.benchmark.views import Side, measure, table

    find_device(device)
    sides = [Side('chosen'), *(Side(str(count), count) for count in dict.fromkeys((*at_a_time, views)))]
    if against:
        sides.append(Side(against.name, checkout=against.resolve()))
    rows = []
    for config in configs:
        click.echo(f'{config.stem}, {views} views ...', err=True)
        clip = shape or view_shape(Config.fromfile(config))
        rows += measure(config.resolve(), [views, *clip], sides, rounds, device, threads)
    click.echo(table(rows))
    if out:
        write_record(out, rows=rows)
