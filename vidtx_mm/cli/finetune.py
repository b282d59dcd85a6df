"""``vidtx finetune``."""

from pathlib import Path
from typing import Any

import click

from .frame import command as make_command


@make_command('vidtx finetune videos --config swin3d_t_k400 --epochs 20')
@click.argument('folder', type=Path)
@click.option('--config', required=True, metavar='NAME|FILE', help='The recipe: a config of `vidtx models`, or a file.')
@click.option('--checkpoint', metavar='FILE|ID', help="Weights to start from. [default: the config's published ones]")
@click.option('--from-scratch', is_flag=True, help='Start from random weights.')
@click.option(
    '--preset',
    type=click.Choice(['small', 'full', 'linear']),
    default='small',
    show_default=True,
    help="'full' keeps the recipe's schedule and augmentation, 'linear' trains the classifier alone.",
)
@click.option('--epochs', type=click.IntRange(1), help="[default: the preset's]")
@click.option('--batch', type=click.IntRange(1), help="Videos of a device in a step. [default: the recipe's]")
@click.option('--val-share', type=float, default=0.2, show_default=True, help='Part of the videos that validate.')
@click.option(
    '--group', metavar='PATTERN', help='Files with the same match in their names stay on one side of the split.'
)
@click.option('--work-dir', type=Path, help='[default: work_dirs/CONFIG_FOLDER]')
@click.option('--devices', type=click.IntRange(1), default=1, show_default=True, help='Processes, one for each device.')
@click.option('--seed', type=int, default=0, show_default=True)
@click.option('--dry-run', is_flag=True, help='Write lists and config, and do not train.')
def command(folder: Path, dry_run: bool, **options: Any) -> None:
    """Fine-tune a model on a folder of videos.

    FOLDER holds a folder of videos for each class, or train/ and val/ with such folders, or train.txt and val.txt with
    lines 'path label'. The work dir gets the lists, the class names, and a config of its own, which `vidtx train` and
    `mim train mmaction` run again; then the best checkpoint, its test and a report. Ctrl-C leaves a run that can go on.
    """
    from vidtx_mm.apis.finetune import plan_finetune, run_finetune, write_plan

    plan = plan_finetune(folder, **options)
    write_plan(plan)
    click.echo('\n'.join([*plan.summary, f'wrote {plan.config}']))
    if dry_run:
        return
    report = run_finetune(plan, click.echo)
    click.echo(f'wrote {report.page}')
    percent = 100 * report.correct // report.clips  # rounded down
    click.echo(f'finetune: top-1 {percent / 100:.2f} on {report.clips} validation clips, {plan.work_dir}')
