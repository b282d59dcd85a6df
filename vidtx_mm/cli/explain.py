"""``vidtx explain``."""

from pathlib import Path

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import device_option, model_options, parse_cfg_options


@make_command('vidtx explain clip.mp4 --run work_dirs/my_swin --out explained')
@click.argument('videos', nargs=-1, required=True, metavar='VIDEO|FOLDER|LIST...')
@model_options
@with_cfg_options
@click.option('--out', default='explained', show_default=True, type=Path, help='The folder to write.')
@click.option('--target', metavar='CLASS', help='A name or an index. [default: the predicted class]')
@device_option
def command(
    videos: tuple[str, ...],
    config: str | None,
    checkpoint: str | None,
    run: str | None,
    cfg_options: tuple[str, ...],
    out: Path,
    target: str | None,
    device: str,
) -> int:
    """Show where a model looks, as a video and as a sheet of frames.

    Video Swin and UniFormer get HiResCAM of the class, TimeSformer and ViViT attention rollout. The exit code is 1
    where a video could not be read.
    """
    from vidtx_mm.apis.explain import explain, find_class, write_explanation
    from vidtx_mm.apis.predict import find_videos
    from vidtx_mm.apis.progress import track
    from vidtx_mm.apis.recognizer import load_recognizer

    found = find_videos(videos)
    recognizer = load_recognizer(config, checkpoint, run, device, parse_cfg_options(cfg_options))
    index = None if target is None else find_class(recognizer, target)
    failed = 0
    for video in track(found, 'videos', len(found)):
        try:
            files = write_explanation(explain(recognizer, video, index), video, out)
        except ValueError as error:
            failed += 1
            click.echo(str(error), err=True)
        else:
            click.echo('\n'.join(map(str, files)))
    return int(failed > 0)
