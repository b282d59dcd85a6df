"""``vidtx check-videos``."""

from pathlib import Path
from typing import Any

import click

from .frame import command as make_command


@make_command(
    'vidtx check-videos data/kinetics400/kinetics400_train_list_videos.txt --data-root data/kinetics400/videos_train'
)
@click.argument('source', metavar='LIST|FOLDER', type=Path)
@click.option('--data-root', default='', help='Folder that the paths of the list are relative to.')
@click.option('--out', default='.', show_default=True, help='Folder for bad_videos.txt and the cleaned list.')
@click.option(
    '--decode', type=click.Choice(['ends', 'all']), default='ends', show_default=True, help='Frames to decode.'
)
@click.option('--workers', type=click.IntRange(1), help='Videos read at a time. [default: number of CPUs]')
@click.option(
    '--num-labels', type=click.IntRange(1), default=1, show_default=True, help='Labels on a line of the list.'
)
@click.option('--timeout', type=float, default=60, show_default=True, help='Seconds for opening, and for decoding.')
@click.pass_context
def command(ctx: click.Context, source: Path, **options: Any) -> None:
    """Read every video of a list or a folder and name those that fail.

    Writes bad_videos.txt (path and reason) and a cleaned list. The exit code is 1 if a video fails.
    """
    from vidtx_mm.apis.check_videos import check_videos

    check = check_videos(source, on_bad=lambda path, reason: click.echo(f'{path}: {reason}'), **options)
    click.echo(
        f'{len(check.bad):,} of {check.total:,} videos cannot be read; wrote {check.bad_file} and {check.clean_list}'
    )
    ctx.exit(1 if check.bad else 0)
