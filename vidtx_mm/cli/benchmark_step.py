"""``vidtx benchmark-step``."""

import click

from .frame import cfg_options as with_cfg_options
from .frame import command as make_command
from .frame import device_option, parse_cfg_options


@make_command('vidtx benchmark-step config.py --cfg-options model.backbone.with_cp=True')
@click.argument('config')
@with_cfg_options
@device_option
@click.option('--steps', type=click.IntRange(1), default=2, show_default=True, help='The last one is measured.')
def command(config: str, cfg_options: tuple[str, ...], device: str, steps: int) -> None:
    """Measure time and peak memory of one training step of CONFIG, on its training data.

    CONFIG is a name or a file, for recognition, detection, pose or segmentation. Weights are random.
    """
    from mmengine.logging import MMLogger

    from vidtx_mm.apis.configs import find_config
    from vidtx_mm.apis.recognizer import find_device
    from vidtx_mm.benchmark.step import measure_step

    MMLogger.get_current_instance().setLevel('ERROR')  # MMEngine logs and warns once for each parameter
    cost = measure_step(find_config(config), parse_cfg_options(cfg_options), str(find_device(device)), steps)
    shape = ' x '.join(map(str, cost.shape))
    click.echo(f'peak memory {cost.peak_mib:,.0f} MiB, time {cost.seconds:.1f} s; input {shape}')
