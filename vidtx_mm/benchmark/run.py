"""Run the two sides of a pair in turn, each in its own child process, and collect the numbers."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .complexity import flops
from .gemm import square_rate
from .pairs import Pair
from .report import summarize
from .worker import DTYPES, Failed, Finished, Ready, Settings, serve


class MeasurementError(RuntimeError):
    """A side failed to build or to run."""


def measure(name: str, pair: Pair, settings: Settings, runs: int, warmup: int) -> dict[str, Any]:
    """Measure one pair in one mode.

    The sides run in turn (ours, reference, ours, ...), so that a drift of the machine affects both.

    Args:
        name: label of the row.
        pair: the two sides; ``reference=None`` measures ours alone.
        settings: shared mode, input and precision.
        runs: measured runs per side.
        warmup: earlier runs per side that are not counted, for instance for compilation.

    Returns:
        The row of :func:`vidtx_mm.benchmark.report.summarize`, with the floating-point operations of ours (``flops``)
        and the measured FLOP/s of matrix products (``gemm_rate``).

    Raises:
        MeasurementError: a side failed; the message names it and its error.
    """
    if runs < 1:
        raise ValueError(f'runs={runs}: use at least one run')
    roles = ('ours',) if pair.reference is None else ('reference', 'ours')  # the reference writes the weights
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        weights = str(Path(folder) / 'weights.pth')
        sides: dict[str, Connection] = {}
        notes: dict[str, str] = {}
        for role in roles:
            sides[role] = stack.enter_context(_child(pair, role, settings, weights))
            notes[role] = _receive(sides[role], name, role, Ready).weights
        order = sorted(roles)
        seconds: dict[str, list[float]] = {role: [] for role in order}
        for index in range(warmup + runs):
            for role in order:
                sides[role].send('run')
                elapsed = _receive(sides[role], name, role, float)
                if index >= warmup:
                    seconds[role].append(elapsed)
        finished: dict[str, Finished] = {}
        for role in order:
            sides[role].send('finish')
            finished[role] = _receive(sides[role], name, role, Finished)
    limit = dict(
        flops=flops(pair.ours, settings), gemm_rate=_gemm_rate(settings.device, settings.precision, settings.threads)
    )
    return summarize(name, settings, seconds, finished, notes['ours']) | limit


@lru_cache
def _gemm_rate(device: str, precision: str, threads: int | None) -> float:
    return square_rate(device, DTYPES[precision], threads)


@contextmanager
def _child(pair: Pair, role: str, settings: Settings, weights: str) -> Iterator[Connection]:
    context = multiprocessing.get_context('spawn')
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, pair, role, settings, weights), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        here.close()
        process.join(timeout=5)
        if process.is_alive():
            process.terminate()


def _receive(connection: Connection, name: str, role: str, kind: type) -> Any:
    try:
        message = connection.recv()
    except EOFError:
        message = Failed('the process died without an error (out of memory?)')
    if isinstance(message, Failed):
        raise MeasurementError(f'{name}, {role}: {message.error}')
    assert isinstance(message, kind), message
    return message
