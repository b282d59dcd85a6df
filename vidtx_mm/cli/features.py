"""``vidtx features``."""

from pathlib import Path

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import device_option, model_options, parse_cfg_options


@make_command('vidtx features my_videos --config uniformer_s_k400 --out features.safetensors')
@click.argument('videos', nargs=-1, required=True, metavar='VIDEO|FOLDER|LIST...')
@model_options
@with_cfg_options
@click.option('--out', required=True, type=Path, help='A .safetensors file, or a folder for .npy files.')
@click.option(
    '--pool',
    type=click.Choice(['avg', 'map']),
    default='avg',
    show_default=True,
    help="'avg' is one vector per video, 'map' the map of each view.",
)
@click.option(
    '--views',
    type=click.Choice(['one', 'test']),
    default='one',
    show_default=True,
    help='The one view of the validation, or all of the test.',
)
@device_option
def command(
    videos: tuple[str, ...],
    config: str | None,
    checkpoint: str | None,
    run: str | None,
    cfg_options: tuple[str, ...],
    out: Path,
    pool: str,
    views: str,
    device: str,
) -> int:
    """Compute features of videos.

    Videos that OUT already has are left out, so that an interrupted call can be repeated. The exit code is 1 where a
    video could not be read.
    """
    from vidtx_mm.apis.features import extract_features, open_store
    from vidtx_mm.apis.predict import find_videos
    from vidtx_mm.apis.progress import track
    from vidtx_mm.apis.recognizer import load_recognizer

    found = find_videos(videos)
    recognizer = load_recognizer(config, checkpoint, run, device, parse_cfg_options(cfg_options))
    store = open_store(out, dict(checkpoint=recognizer.checkpoint, pool=pool, views=views))
    left = [video for video in found if video not in store.done]
    failed = 0
    try:
        for video, features in track(extract_features(recognizer, left, pool, views), 'videos', len(left)):
            if isinstance(features, str):
                failed += 1
                click.echo(f'{video}: {features}', err=True)
            else:
                store.add(video, features)
    finally:
        store.close()
    click.echo(f'{out}: {len(left) - failed} videos added, {len(found) - len(left)} were there, {failed} failed')
    return int(failed > 0)
