"""Runs that are killed from outside, at any moment, and go on as if nothing had happened.

``KILLS=10 pytest tests/hooks/test_kill.py`` kills at ten random moments and in three writes of a checkpoint.
"""

import json
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy

KILLS = int(os.environ.get('KILLS', 2))
SETTINGS: dict[str, Any] = dict(epochs=4, workers=2, checkpoint=dict(interval=2, by_epoch=False, max_keep_ckpts=1))


@pytest.fixture(scope='module')
def processes() -> Iterator[ForkServerContext]:
    """Processes that have imported everything already."""
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['toy'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(Path(__file__).parent))
        forkserver.ensure_running()
    yield context
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@contextmanager
def running(context: ForkServerContext, work_dir: Path, number: int = 1, **settings: Any) -> Iterator[list[Any]]:
    """A run in one or two processes, killed on leaving if it still goes on."""
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1] if number > 1 else 0
    children = [
        context.Process(target=toy.child, args=(work_dir, rank, port), kwargs=settings) for rank in range(number)
    ]
    for process in children:
        process.start()
    try:
        yield children
    finally:
        for process in children:
            process.kill()
            process.join()


def wait_for(work_dir: Path, pattern: str) -> None:
    deadline = time.monotonic() + 120
    while not any(work_dir.glob(pattern)):
        assert time.monotonic() < deadline, f'no {pattern} in {work_dir}'
        time.sleep(0.002)


def finish(context: ForkServerContext, work_dir: Path, number: int = 1, **settings: Any) -> None:
    with running(context, work_dir, number, **settings) as children:
        for process in children:
            process.join(180)
    assert [process.exitcode for process in children] == [0] * number


@pytest.fixture(scope='module')
def whole(processes: ForkServerContext, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, str], float]:
    """The curve of the uninterrupted run and the seconds that it takes."""
    work_dir = tmp_path_factory.mktemp('whole')
    with running(processes, work_dir, **SETTINGS) as (process,):
        wait_for(work_dir, 'started')
        start = time.monotonic()
        process.join(180)
    return toy.curve(work_dir), time.monotonic() - start


@pytest.mark.parametrize('number', [signal.SIGKILL] * KILLS + [signal.SIGTERM, signal.SIGINT])
def test_killed_at_a_random_moment(
    number: signal.Signals, processes: ForkServerContext, tmp_path: Path, whole: tuple[dict[int, str], float]
) -> None:
    curve, seconds = whole
    with running(processes, tmp_path, **SETTINGS) as (process,):
        wait_for(tmp_path, 'started')
        time.sleep(random.SystemRandom().uniform(0, seconds))
        with suppress(ProcessLookupError):  # the moment may come after the end
            os.kill(process.pid, number)
        process.join(60)
    finish(processes, tmp_path, resume=True, **SETTINGS)
    assert toy.curve(tmp_path) == curve


@pytest.mark.parametrize('step', [4, 6, 8][: max(1, KILLS // 3)])
def test_killed_within_a_write(
    step: int, processes: ForkServerContext, tmp_path: Path, whole: tuple[dict[int, str], float]
) -> None:
    """The file in the making is no checkpoint; the one before it is resumed."""
    with running(processes, tmp_path, write_seconds=0.2, **SETTINGS) as (process,):
        wait_for(tmp_path, f'.iter_{step}.pth.writing')
        process.kill()
        process.join()
    assert (tmp_path / f'.iter_{step}.pth.writing').exists()
    assert (tmp_path / 'last_checkpoint').read_text().endswith(f'iter_{step - 2}.pth')
    finish(processes, tmp_path, resume=True, **SETTINGS)
    assert toy.curve(tmp_path) == whole[0]
    assert [path.name for path in tmp_path.glob('*.pth*')] == ['iter_12.pth']


def check_logged_losses(work_dir: Path) -> None:
    """They are averages over ten steps and both processes."""
    curves = [toy.curve(work_dir, rank) for rank in (0, 1)]
    losses = [[float.fromhex(line.split()[3]) for line in curve.values()] for curve in curves]
    assert losses[0] != losses[1]
    (file,) = work_dir.glob('*/vis_data/scalars.json')
    records = [record for record in map(json.loads, file.read_text().splitlines()) if 'loss' in record]
    assert records
    for record in records:
        steps = slice(max(0, record['step'] - 10), record['step'])
        assert record['loss'] == pytest.approx(np.mean([one[steps] for one in losses]), rel=1e-6)


def test_two_processes(processes: ForkServerContext, tmp_path: Path) -> None:
    settings = dict(SETTINGS, batch=2, randomness=dict(seed=5, diff_rank_seed=True))
    finish(processes, tmp_path / 'whole', 2, **settings)
    check_logged_losses(tmp_path / 'whole')
    with running(processes, tmp_path / 'parts', 2, **settings):
        wait_for(tmp_path / 'parts', 'iter_4.pth')
    finish(processes, tmp_path / 'parts', 2, resume=True, **settings)
    curves = {name: [toy.curve(tmp_path / name, rank) for rank in (0, 1)] for name in ('whole', 'parts')}
    assert curves['parts'] == curves['whole']
    assert curves['whole'][0] != curves['whole'][1]
