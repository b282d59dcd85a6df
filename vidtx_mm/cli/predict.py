"""``vidtx predict``."""

import json
from pathlib import Path

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import device_option, model_options, only_json, parse_cfg_options, writable


@make_command('vidtx predict clip.mp4 --config swin3d_t_k400 --views one')
@click.argument('videos', nargs=-1, required=True, metavar='VIDEO|FOLDER|LIST...')
@model_options
@with_cfg_options
@click.option('--topk', type=click.IntRange(1), default=5, show_default=True, help='Classes to print.')
@click.option(
    '--views',
    type=click.Choice(['test', 'one']),
    default='test',
    show_default=True,
    help="'test' averages the views of the config's test, 'one' is faster.",
)
@click.option('--json', 'out', help='Write all predictions as JSON to this file, - for stdout.')
@click.option('--show', 'shown', type=Path, help='Write the video with its classes (a folder for several videos).')
@click.option('--batch', type=click.IntRange(1), default=1, show_default=True, help='Videos computed together.')
@device_option
def command(
    videos: tuple[str, ...],
    config: str | None,
    checkpoint: str | None,
    run: str | None,
    cfg_options: tuple[str, ...],
    topk: int,
    views: str,
    out: str | None,
    shown: Path | None,
    batch: int,
    device: str,
) -> int:
    """Predict the classes of videos with the config's own test pipeline.

    A LIST is a text file with a video on each line. Without --checkpoint the published weights of the config are
    fetched. The exit code is 1 where a video could not be read.
    """
    with only_json(out):
        from vidtx_mm.apis.predict import find_videos, predict
        from vidtx_mm.apis.progress import track
        from vidtx_mm.apis.recognizer import load_recognizer

        found = find_videos(videos)
        if shown is not None and (len(found) > 1) == bool(shown.suffix):
            raise click.UsageError(f'--show {shown}: give a file ending in .mp4 for one video, a folder for several')
        writable(out)
        recognizer = load_recognizer(config, checkpoint, run, device, parse_cfg_options(cfg_options))
        results = []
        for result in track(predict(recognizer, found, topk, views, batch), 'videos', len(found)):
            results.append(result)
            lines = [f'{one["probability"]:.3f}  {one["label"]}' for one in result['predictions']]
            if shown is not None and lines:
                from vidtx_mm.apis.show import show

                show(result['video'], lines, shown if shown.suffix else shown / f'{Path(result["video"]).stem}.mp4')
            if out != '-':
                click.echo(
                    '\n'.join([result['video'], *(f'  {line}' for line in lines or [f'error: {result["error"]}'])])
                )
    if out is not None:
        text = json.dumps(results, indent=1, ensure_ascii=False)
        click.echo(text) if out == '-' else Path(out).write_text(text + '\n', encoding='utf-8')
    return int(any(result['error'] for result in results))
