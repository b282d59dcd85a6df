"""``vidtx train``."""

from typing import Any

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import host_options


@make_command('vidtx train swin3d_t_k400 --gpus 8 --amp')
@click.argument('config')
@host_options
@click.option('--resume', is_flag=False, flag_value='auto', help='Go on from the last checkpoint, or from this one.')
@click.option('--amp', is_flag=True, help='Compute in mixed precision.')
@click.option('--auto-scale-lr', is_flag=True, help='Scale the learning rate to the number of GPUs.')
@click.option('--no-validate', is_flag=True, help='Leave out validation.')
@click.option('--seed', type=int, help='Seed of the random generators.')
@with_cfg_options
def command(config: str, **options: Any) -> None:
    """Train a config with MMAction2's own training.

    CONFIG is a name or a file. Options mean what they mean for `mim train mmaction`; openmim is not needed. Several
    GPUs are started with torchrun.
    """
    from .frame import run_host_tool

    run_host_tool('train', config, **options)
