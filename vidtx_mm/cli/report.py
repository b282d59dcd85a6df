"""``vidtx report``."""

from pathlib import Path

import click

from .frame import command as make_command
from .frame import device_option


@make_command('vidtx report work_dirs/my_swin')
@click.argument('work_dir', type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option('--split', type=click.Choice(['test', 'val']), default='test', show_default=True)
@click.option('--out', type=Path, help='The folder to write. [default: WORK_DIR/report]')
@click.option(
    '--dump', type=click.Path(exists=True, dir_okay=False), help='Scores by `test --dump`, to spare the test.'
)
@device_option
def command(work_dir: Path, split: str, out: Path | None, dump: str | None, device: str) -> None:
    """Test the best checkpoint of a run and write its report.

    report.html holds everything: training curves, confusion matrix, classes, calibration and the worst mistakes.
    """
    from vidtx_mm.apis.progress import track
    from vidtx_mm.apis.report import make_report

    click.echo(str(make_report(work_dir, split, out, dump, device, track)))
