"""``vidtx gpu-check``."""

from pathlib import Path

import click

from .frame import command as make_command
from .frame import writable, write_record


@make_command('vidtx gpu-check --out gpu_check.json')
@click.option('--device', type=click.Choice(['cuda', 'cpu']), default='cuda', show_default=True)
@click.option('--small', is_flag=True, help='Two models and a tiny pair; with --device cpu a test of the check itself.')
@click.option('--minutes', type=click.FloatRange(0, min_open=True), default=7.5, show_default=True, help='Time limit.')
@click.option('--out', type=Path, help='Write all numbers, the machine and the versions as JSON.')
def command(device: str, small: bool, minutes: float, out: Path | None) -> int:
    """Check the models on a GPU and measure them beside MMAction2's and transformers'.

    It needs no data. Small models of all families are compared with float64 on the CPU, in fp32, bf16 and fp16, with
    activation checkpointing, compiled, and searched for waits of the CPU. Then come the attention backends that
    PyTorch takes, the tables at bf16 and batch 8, and whether the targets are met.
    """
    from vidtx_mm.benchmark.gpu_check import GpuCheck, summary

    writable(out)
    record = GpuCheck(device, small).run(60 * minutes, lambda line: click.echo(line, err=True))
    click.echo(summary(record))
    if out:
        write_record(out, **record)
    return int(any(row['status'] == 'FAILED' for row in record['checks']))
