"""``vidtx timeline``."""

from pathlib import Path

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import device_option, model_options, parse_cfg_options, writable


@make_command('vidtx timeline match.mp4 --config swin3d_t_k400 --out match')
@click.argument('video', type=Path)
@model_options
@with_cfg_options
@click.option('--out', type=Path, help='Where to write OUT.csv and OUT.png. [default: the video, without its ending]')
@click.option('--stride', type=click.FloatRange(min=0, min_open=True), help='Seconds. [default: half a window]')
@click.option('--topk', type=click.IntRange(1), default=5, show_default=True, help='Classes of each window.')
@click.option('--batch', type=click.IntRange(1), default=4, show_default=True, help='Windows computed together.')
@device_option
def command(
    video: Path,
    config: str | None,
    checkpoint: str | None,
    run: str | None,
    cfg_options: tuple[str, ...],
    out: Path | None,
    stride: float | None,
    topk: int,
    batch: int,
    device: str,
) -> None:
    """Predict the classes along a long video.

    Windows as long as the clips of the model slide over the video, which is decoded once; memory does not grow with its
    length. OUT.csv has the start and end in seconds and the best classes of each window, OUT.png draws them.
    """
    from vidtx_mm.apis.progress import track
    from vidtx_mm.apis.recognizer import load_recognizer
    from vidtx_mm.apis.timeline import draw_timeline, timeline, write_csv

    place = out or video.with_suffix('')
    files = [place.with_name(f'{place.name}.{ending}') for ending in ('csv', 'png')]
    for file in files:
        writable(file)
    recognizer = load_recognizer(config, checkpoint, run, device, parse_cfg_options(cfg_options))
    rows = list(track(timeline(recognizer, video, stride, topk, batch), 'windows'))
    write_csv(rows, files[0])
    draw_timeline(rows, video, files[1])
    click.echo(f'{len(rows)} windows: wrote {files[0]} and {files[1]}')
