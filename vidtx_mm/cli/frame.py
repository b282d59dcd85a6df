"""The frame of all commands: how they are found, how options repeat, how errors end."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import click

LISTS = {'--cfg-options', '--shape'}  # options that take every word up to the next option, as the host's do
HOST_WARNINGS = ('pkg_resources is deprecated', '`torch.jit', 'Fail to import ``MultiScaleDeformable')  # on its import
OWN_WORDS = (OSError, ValueError, LookupError, RuntimeError, ImportError)  # messages that need no class name


class Group(click.Group):
    """A group whose commands are ``vidtx_mm.cli.<name>.command``, imported when they are asked for."""

    def __init__(self, commands: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self.names = tuple(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return import_module(f'vidtx_mm.cli.{cmd_name.replace("-", "_")}').command if cmd_name in self.names else None


class Command(click.Command):
    """A command with ``--debug``, the host's way of writing lists (``--cfg-options a=1 b=2``), and an example."""

    def __init__(self, *args: Any, example: str, **options: Any) -> None:
        super().__init__(*args, **options)
        self.epilog = f'Example: {example}'
        self.params.append(click.Option(['--debug'], is_flag=True, expose_value=False, help='Show tracebacks.'))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_list_options(args))


def command(example: str) -> Callable[[Callable], click.Command]:
    """Turn a function into a command; its docstring is the help, ``example`` stands below the options."""
    return click.command(cls=Command, example=example)


cfg_options = click.option(
    '--cfg-options', multiple=True, metavar='KEY=VALUE ...', help='Changes to the config, as mim takes them.'
)


device_option = click.option(
    '--device', default='auto', show_default=True, help="As for torch; 'auto' is a GPU where there is one."
)


def model_options(function: Callable) -> Callable:
    """Add the options that name a trained model: --config and --checkpoint, or --run."""
    for option in (
        click.option('--run', metavar='WORK_DIR', help='Take config and best checkpoint of a run, in place of both.'),
        click.option('--checkpoint', metavar='FILE|ID', help="Weights. [default: the config's published ones]"),
        click.option('--config', metavar='NAME|FILE', help='A config of `vidtx models`, or a file.'),
    ):
        function = option(function)
    return function


def host_options(function: Callable) -> Callable:
    """Add the options that training and testing share with mim."""
    for option in (
        click.option(
            '--gpus', type=click.IntRange(1), default=1, show_default=True, help='Processes, one for each GPU.'
        ),
        click.option('--launcher', type=click.Choice(['none', 'pytorch', 'slurm', 'mpi']), default='none'),
        click.option('--work-dir', help='Where everything is written. [default: work_dirs/CONFIG]'),
    ):
        function = option(function)
    return function


def run_host_tool(tool: str, config: str, *arguments: str, gpus: int, launcher: str, **options: Any) -> None:
    """Start the host's tool with the options of a command, on the CPU with a backend that works there."""
    from torch.cuda import is_available

    from vidtx_mm.apis.configs import find_config
    from vidtx_mm.apis.host import host_command, run_host

    changes = list(options.pop('cfg_options'))
    if (gpus > 1 or launcher == 'pytorch') and not is_available():
        changes.insert(0, 'env_cfg.dist_cfg.backend=gloo')
    words: list[str] = []
    for name, value in {**options, 'cfg_options': changes}.items():
        if value:
            flag = f'--{name.replace("_", "-")}'
            words += [flag] if value is True else [flag, *(value if isinstance(value, list) else [str(value)])]
    run_host(host_command(tool, [str(find_config(config)), *arguments, *words], gpus, launcher))


@contextmanager
def only_json(out: str | None) -> Iterator[None]:
    """With ``out`` '-' send whatever is printed meanwhile to stderr, so that stdout holds JSON alone."""
    with redirect_stdout(sys.stderr) if out == '-' else nullcontext():
        yield


def writable(out: str | Path | None) -> None:
    """Raise ``OSError`` now where a result could not be written at the end."""
    if out is not None and str(out) != '-':
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with Path(out).open('a'):
            pass


def write_record(out: Path, **record: Any) -> None:
    """Write the numbers of a measurement as JSON, with the command, the machine and the versions."""
    from vidtx_mm.benchmark.report import machine, versions

    command_line = ' '.join(['vidtx', *click.get_current_context().obj])
    out.parent.mkdir(parents=True, exist_ok=True)
    whole = dict(command=command_line, machine=machine(), versions=versions()) | record
    out.write_text(json.dumps(whole, indent=1))


def parse_cfg_options(words: Iterable[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` words with the host's own rules for numbers, lists and None."""
    from argparse import ArgumentParser

    from mmengine.config import DictAction

    parser = ArgumentParser()
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    if wrong := [word for word in words if '=' not in word]:
        raise click.UsageError(f'--cfg-options {wrong[0]!r} is not of the form KEY=VALUE')
    return vars(parser.parse_args(['--cfg-options', *words] if words else []))['cfg_options']


def repeat_list_options(args: list[str]) -> list[str]:
    """``--shape 3 16 64`` becomes ``--shape 3 --shape 16 --shape 64``, which click understands."""
    words: list[str] = []
    option = ''
    for word in args:
        if word.startswith('--'):
            option = word if word in LISTS else ''
            if option:
                continue
        words += [option, word] if option else [word]
    return words


def run(group: Group, argv: list[str]) -> int:
    """Run a command line; an error is one sentence on stderr and exit code 2, with ``--debug`` a traceback."""
    if '--debug' not in argv:
        for message in HOST_WARNINGS:
            warnings.filterwarnings('ignore', message)
    name = ' '.join([str(group.name), *(word for word in argv[:1] if word in group.names)])
    try:
        return group.main(args=argv, prog_name=group.name, standalone_mode=False, obj=argv) or 0
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
    except (KeyboardInterrupt, click.Abort) as stop:
        click.echo(f'{name}: {str(stop.__cause__ or stop) or "interrupted"}', err=True)
        return 130
    except BrokenPipeError:  # the reader of stdout is gone: `vidtx models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if '--debug' in argv:
            raise
        click.echo(f'{name}: {sentence(error)}', err=True)
    return 2


def sentence(error: Exception) -> str:
    """The message of an error for users."""
    if isinstance(error, click.ClickException):
        return error.format_message().rstrip('.') + (
            ' (--help lists all)' if isinstance(error, click.UsageError) else ''
        )
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f'{error.filename}: {error.strerror}'
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if text and isinstance(error, OWN_WORDS) and not isinstance(error, NotImplementedError):
        return text
    return f'{type(error).__name__}: {text or "no message"} (--debug shows the traceback)'


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Print columns that stay whole when piped."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        click.echo('  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
