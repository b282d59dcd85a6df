"""MMAction2's own training and testing, started as it starts them itself. openmim is not needed."""

import importlib.util
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from os import environ
from pathlib import Path

TAIL = 30  # lines of its log that a failed command shows

TRAIN_LINE = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].* eta: (\S+) .* loss: (\S+)')
RESULT_LINE = re.compile(r'Epoch\((val|test)\)\s+(?:\[(\d+)\])?\[\s*\d+/\d+\].*acc/top1: (\S+)')


class HostError(RuntimeError):
    """A command of the host failed; the message shows the end of its output."""


def host_command(tool: str, arguments: Sequence[str | Path], gpus: int = 1, launcher: str = 'none') -> list[str]:
    """The command line of MMAction2's ``tools/train.py`` or ``tools/test.py``.

    Args:
        tool: 'train' or 'test'.
        arguments: the config and the tool's own options.
        gpus: processes to start, one for each device; more than one implies the launcher 'pytorch'.
        launcher: 'none', 'pytorch' (torchrun on this machine), 'slurm' or 'mpi' (started from outside).

    Raises:
        FileNotFoundError: if MMAction2 is not installed with its tools.
    """
    if gpus < 1:
        raise ValueError(f'gpus={gpus}: give 1 or more')
    start = [sys.executable]
    if gpus > 1 and launcher == 'none':
        launcher = 'pytorch'
    if launcher == 'pytorch':
        start += ['-m', 'torch.distributed.run', f'--nproc_per_node={gpus}', f'--master_port={_free_port()}']
    return [*start, str(_tool(tool)), *map(str, arguments), '--launcher', launcher]


def _tool(name: str) -> Path:
    spec = importlib.util.find_spec('mmaction')
    roots = [Path(root) for root in spec.submodule_search_locations or ()] if spec else []
    places = [root / part / f'{name}.py' for root in roots for part in ('.mim/tools', '../tools')]
    for place in places:
        if place.is_file():
            return place.resolve()
    raise FileNotFoundError(f'MMAction2 has no tools/{name}.py here: pip install "mmaction2>=1.2,<2"')


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('', 0))
        return probe.getsockname()[1]


def run_host(command: Sequence[str]) -> None:
    """Run a command with its output on the terminal.

    Raises:
        HostError: if it fails; its own messages stand above.
        KeyboardInterrupt: after it has ended, if the user interrupts it.
    """
    process = subprocess.Popen(command)
    _wait(process)
    if process.returncode:
        raise HostError(f'{shlex.join(command)} failed with exit code {process.returncode}; its messages are above')


def run_logged(command: Sequence[str], log: Path, say: Callable[[str], None]) -> None:
    """Run a command, show its progress in short, and write all its output to a file.

    Raises:
        HostError: if it fails, with the last lines of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL)
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        env={**environ, 'PYTHONUNBUFFERED': '1'},
    )
    assert process.stdout is not None
    with log.open('w', buffering=1) as kept:
        try:
            for line in process.stdout:
                kept.write(line)
                tail.append(line)
                if shown := progress(line):
                    say(f'  {shown}')
        finally:
            _wait(process)
    if process.returncode:
        raise HostError(
            f'{shlex.join(command)}\nfailed with exit code {process.returncode}; the last lines of {log}:\n\n'
            f'{"".join(tail)}\nCheck the installation with `vidtx doctor`.'
        )


def _wait(process: subprocess.Popen) -> None:
    """Wait for the end; an interrupt reaches the process too, which may save its state before it ends."""
    try:
        process.wait()
    except KeyboardInterrupt:
        previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
        process.wait()
        signal.signal(signal.SIGINT, previous)
        raise


def progress(line: str) -> str | None:
    """Shorten a progress line of MMEngine's log; return ``None`` for other lines."""
    if match := TRAIN_LINE.search(line):
        epoch, step, steps, eta, loss = match.groups()
        return f'epoch {epoch:>2}, step {step:>{len(steps)}}/{steps}: loss {float(loss):.3f}, {eta} to go'
    if match := RESULT_LINE.search(line):
        split, epoch, accuracy = match.groups()
        when = f'epoch {epoch:>2}' if epoch else 'best epoch'
        return f'{when}, {"validation" if split == "val" else "held-out clips"}: top-1 {float(accuracy):.3f}'
    return None
