"""``vidtx test``."""

from typing import Any

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import host_options


@make_command('vidtx test swin3d_t_k400 --checkpoint swin3d_t_k400 --dump scores.pkl')
@click.argument('config')
@click.option('--checkpoint', required=True, metavar='FILE|ID', help='A file, a web address or a weights id.')
@host_options
@click.option('--dump', help='Write the scores of all videos to this .pkl file.')
@with_cfg_options
def command(config: str, checkpoint: str, **options: Any) -> None:
    """Test a checkpoint with MMAction2's own test.

    CONFIG is a name or a file. Options mean what they mean for `mim test mmaction`; openmim is not needed.
    """
    from vidtx_mm.apis.zoo import find_checkpoint

    from .frame import run_host_tool

    run_host_tool('test', config, find_checkpoint(checkpoint), **options)
