"""``vidtx export``."""

from pathlib import Path

import click

from .frame import command as make_command


@make_command('vidtx export vivit.onnx --config vivit_b_k400 --dynamic-batch')
@click.argument('out', type=Path)
@click.option('--config', required=True, metavar='NAME|FILE', help='A config of `vidtx models`, or a file.')
@click.option('--checkpoint', metavar='FILE|ID', help="Weights. [default: the config's published ones]")
@click.option('--format', type=click.Choice(['onnx', 'torch_export']), default='onnx', show_default=True)
@click.option('--size', nargs=2, type=int, metavar='H W', help="Of the input. [default: the config's test crop]")
@click.option('--batch', type=click.IntRange(1), default=1, show_default=True, help='Clips or images of a call.')
@click.option('--dynamic-batch', is_flag=True, help='Let the file take any number of them.')
def command(
    out: Path,
    config: str,
    checkpoint: str | None,
    format: str,
    size: tuple[int, int] | None,
    batch: int,
    dynamic_batch: bool,
) -> int:
    """Export a model to ONNX (.onnx) or torch.export (.pt2).

    The file is compared with the model on random input, and both are timed. Of detectors, pose models and segmentors
    the backbone is exported. The exit code is 1 where the outputs differ by more than rounding.
    """
    from vidtx_mm.apis.export import export, load_module

    model, example = load_module(config, checkpoint, size, batch)
    result = export(model, example, out, format, dynamic_batch)
    click.echo(str(result))
    if not result.agrees:
        click.echo(f'{out}: its outputs differ from those of the model by more than rounding', err=True)
    return int(not result.agrees)
