"""The frame of the commands: help, errors, lists, and three spellings of one command line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from vidtx_mm.cli import COMMANDS, frame, main, vidtx
from vidtx_mm.cli.frame import Command, Group, repeat_list_options, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_has_a_tool_an_example_and_help(name: str, capsys: pytest.CaptureFixture) -> None:
    assert (ROOT / 'tools' / f'{name.replace("-", "_")}.py').is_file()
    assert main([name, '--help']) == 0
    shown = capsys.readouterr().out
    assert f'Example: vidtx {name}' in ' '.join(shown.split())
    assert '--debug' in shown


def test_every_file_is_a_command() -> None:
    files = {file.stem for file in (ROOT / 'vidtx_mm' / 'cli').glob('*.py')} - {'__init__', 'frame'}
    assert files == {name.replace('-', '_') for name in COMMANDS}


def test_help_imports_neither_torch_nor_the_host() -> None:
    code = 'import sys; from vidtx_mm.cli import main; main(["--help"]); print(*sys.modules, file=sys.stderr)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert not {'torch', 'mmengine', 'numpy'} & set(done.stderr.split())
    assert all(name in done.stdout for name in COMMANDS)


def test_an_unknown_command_is_one_sentence(capsys: pytest.CaptureFixture) -> None:
    assert main(['conver']) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith('vidtx: ') and "'conver'" in err and err.count('\n') == 1


def failing(error: BaseException) -> Group:
    @click.command(cls=Command, example='vidtx fail')
    def fail() -> None:
        """Fail."""
        raise error

    group = Group(['fail'], name='vidtx')
    group.get_command = lambda ctx, name: fail  # type: ignore[method-assign]
    return group


@pytest.mark.parametrize(
    ('error', 'message'),
    [
        (ValueError('bad value 3: give 2'), 'bad value 3: give 2'),
        (KeyError('no such key'), 'no such key'),
        (OSError(28, 'No space left on device', 'a.txt'), 'a.txt: No space left on device'),
        (TypeError('odd'), 'TypeError: odd (--debug shows the traceback)'),
        (click.ClickException('plain'), 'plain'),
    ],
)
def test_errors_end_in_one_sentence(error: Exception, message: str, capsys: pytest.CaptureFixture) -> None:
    assert run(failing(error), ['fail']) == 2
    assert capsys.readouterr() == ('', f'vidtx fail: {message}\n')


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match='bad'):
        run(failing(ValueError('bad')), ['fail', '--debug'])


def test_interrupt(capsys: pytest.CaptureFixture) -> None:
    assert run(failing(KeyboardInterrupt()), ['fail']) == 130
    assert capsys.readouterr().err == '\nvidtx fail: interrupted\n'


def test_lists_are_written_as_the_host_takes_them() -> None:
    words = ['a.py', '--shape', '3', '16', '--cfg-options', 'a=1', 'b=2', '--debug']
    assert repeat_list_options(words) == [
        *('a.py', '--shape', '3', '--shape', '16', '--cfg-options', 'a=1', '--cfg-options', 'b=2', '--debug'),
    ]


def test_cfg_options_follow_the_host() -> None:
    assert frame.parse_cfg_options(['a.b=1', 'c=[1,x]', 'd=None']) == {'a.b': 1, 'c': [1, 'x'], 'd': None}
    assert frame.parse_cfg_options([]) == {}
    with pytest.raises(click.UsageError, match='KEY=VALUE'):
        frame.parse_cfg_options(['a'])


def test_three_spellings(run_python: Callable, tmp_path: Path) -> None:
    """``mim run vidtx_mm NAME`` executes tools/NAME.py."""
    wanted = run_python(['-m', 'vidtx_mm', 'complexity', '--help'], tmp_path).stdout
    assert 'Usage: vidtx complexity' in wanted
    assert run_python([ROOT / 'tools/complexity.py', '--help'], tmp_path).stdout == wanted
    assert vidtx.name == 'vidtx'
