"""``vidtx make-lists``."""

from pathlib import Path
from typing import Any

import click

from .frame import command as make_command


@make_command('vidtx make-lists kinetics400 data/kinetics400 --annotations data/kinetics400/annotations')
@click.argument('data_set', metavar='DATA_SET')
@click.argument('videos', type=Path)
@click.option('--annotations', type=Path, help='Folder of the official csv, json or txt files.')
@click.option('--out', type=Path, help='Folder of the lists. [default: VIDEOS]')
@click.option('--split', type=click.IntRange(1, 3), default=1, show_default=True, help='Of UCF101 and HMDB51.')
@click.option('--val-share', type=float, default=0.2, show_default=True, help='Part that validates, for folder.')
@click.option('--seed', type=int, default=0, show_default=True, help='Of that split.')
def command(data_set: str, videos: Path, out: Path | None, **options: Any) -> None:
    """Write the lists of training and validation videos that the configs name.

    DATA_SET is kinetics400, kinetics600, kinetics700, ssv2, ssv1, epic_kitchens100, ucf101, hmdb51, or folder for a
    folder of videos for each class. Classes are numbered as in MMAction2, those of EPIC-Kitchens as in its files. Says
    how many clips the lists hold, how many are published, and which annotated ones have no file.
    """
    from vidtx_mm.apis.make_lists import make_lists

    for report in make_lists(data_set, videos, out or videos, **options):
        click.echo(report)
