"""``vidtx convert``."""

from pathlib import Path
from typing import Any

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import parse_cfg_options


@make_command('vidtx convert vivit.msgpack vivit.pth --config vivit_b_k400')
@click.argument('src')
@click.argument('dst', type=Path)
@click.option('--config', help='Name or file of the config of the model that the checkpoint is for.')
@with_cfg_options
@click.option('--source', default='auto', show_default=True, help='Where SRC comes from.')
@click.option('--inflate', help='How image kernels become video kernels: mean, center or random.')
@click.option('--head', default='auto', show_default=True, help='What to do with the classifier: auto, keep or drop.')
@click.option('--class-order', default='auto', show_default=True, help='How SRC orders its classes.')
@click.option('--pos-interpolation', default='bicubic', show_default=True, help='For position embeddings.')
@click.option('--keep-init', default='', help='A pattern of parameters to leave out.')
@click.option('--allow-nonfinite', is_flag=True, help='Accept NaN and infinite values.')
def command(src: str, dst: Path, config: str | None, cfg_options: tuple[str, ...], **options: Any) -> None:
    """Write any known checkpoint as a plain MMAction2 one.

    SRC is a file or a web address: .pth .pyth .bin .safetensors .npz or flax msgpack. Without a config the keys of a
    video checkpoint are renamed and its shapes and head stay. With one, the checkpoint is brought to that model,
    strictly: an image model is inflated, position embeddings are resized, a head of other classes is left out.
    """
    from vidtx_mm.apis.convert import convert

    report = convert(src, dst, config, parse_cfg_options(cfg_options), **options)
    click.echo(f'{report}\nwrote {dst} ({dst.stat().st_size:,} bytes)')
