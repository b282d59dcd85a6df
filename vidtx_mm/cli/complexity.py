"""``vidtx complexity``."""

import click

from .frame import command as make_command


@make_command('vidtx complexity configs/swin3d_t_k400.py --shape 3 16 224 224')
@click.argument('configs', nargs=-1, required=True)
@click.option('--shape', type=int, multiple=True, metavar='N ...', help='C T H W of a clip or C H W of an image.')
def command(configs: tuple[str, ...], shape: tuple[int, ...]) -> None:
    """Count parameters and multiply-adds of recognizer, detector and pose configs.

    Nothing is loaded or computed. Without --shape a view is counted as the config tests it.
    """
    from vidtx_mm.apis.configs import find_config
    from vidtx_mm.benchmark.kinds import count_file

    files = {name: find_config(name) for name in configs}
    click.echo('| config | view | parameters | multiply-adds |\n| --- | --- | --- | --- |')
    for name, file in files.items():
        view, result = count_file(file, shape)
        sides = ' x '.join(map(str, view[1:]))
        click.echo(f'| {name} | {sides} | {result.parameters:,} | {result.macs / 1e9:.1f}G |')
