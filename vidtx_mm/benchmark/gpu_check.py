"""Check and measure the package on a GPU within a time limit."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import torch

from .device_checks import CHECKS, FAMILIES, MODELS, DeviceChecks, Skipped, many_groups, views_in_chunks
from .device_tables import SPEED_UPS, TINY_PAIRS, Models, kernel_times, targets
from .gemm import square_rate
from .pairs import PAIRS
from .report import machine, markdown, table, versions
from .worker import MODES, Settings

Item = tuple[str, str, Callable[[], str]]
RUNS, WARMUP = 5, 3


class TimeUp(BaseException):
    """The time limit is reached."""


@contextmanager
def time_limit(seconds: float) -> Iterator[Callable[[], None]]:
    """Raise ``TimeUp`` in the main thread after some seconds, or later when the function given is called."""
    end = time.monotonic() + seconds

    def stop(*_: Any) -> None:
        raise TimeUp

    def check() -> None:
        if time.monotonic() >= end:
            raise TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield check
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class GpuCheck:
    """The checks and tables in order of importance; ``record`` holds the results.

    Args:
        device: 'cuda', or 'cpu' to try the checks themselves.
        small: two models and a tiny pair.
    """

    def __init__(self, device: str = 'cuda', small: bool = False) -> None:
        self.settings = Settings(device=device, precision='bf16', batch=1 if small else 8)
        self.device, self.small = device, small
        self.pairs = TINY_PAIRS if small else {name: PAIRS[name] for name in SPEED_UPS}
        self.record: dict[str, Any] = dict(
            machine=machine(),
            versions=versions() | dict(cuda=torch.version.cuda, cudnn=torch.backends.cudnn.version()),
            checks=[],
            attention=[],
            kernels=[],
            rows=[],
            targets=[],
            left_out=[],
        )

    def items(self) -> Iterator[Item]:
        """Yield subject, name and function of each item; the function returns its result in words."""
        yield 'device', 'matrix products', self._gemm_rate
        for name in ('vivit',) if self.small else MODELS:
            checks = self._checks(name)
            for check, method in CHECKS.items():
                yield name, check, partial(_on, checks, method)
        for name in self.pairs:
            yield name, 'tables', partial(self._compare, name)
        yield 'device', 'views of a test', partial(views_in_chunks, self.device)
        yield 'device', 'kernels', self._kernels
        yield 'device', 'many groups', partial(many_groups, self.device)  # a kernel that fails ends all use of a GPU
        if not self.small:
            for backend in ('aot_eager', 'inductor'):
                for name in FAMILIES:
                    yield (
                        name,
                        backend,
                        partial(_on, self._checks(name), partial(DeviceChecks.compiled, backend=backend)),
                    )

    def run(self, seconds: float, report: Callable[[str], None]) -> dict[str, Any]:
        """Run the items until the time is up, report each, and return the record."""
        items = list(self.items())
        done = 0
        try:
            with time_limit(seconds) as check_time:
                for subject, name, function in items:
                    check_time()
                    self._run(subject, name, function, report)
                    done += 1
        except TimeUp:
            self.record['left_out'] = [f'{subject}: {name}' for subject, name, _ in items[done:]]
        return self.record

    def _run(self, subject: str, name: str, function: Callable[[], str], report: Callable[[str], None]) -> None:
        start = time.monotonic()
        try:
            status, words = 'ok', function()
        except Skipped as reason:
            status, words = 'skipped', str(reason)
        except Exception as found:
            status, words = 'FAILED', f'{type(found).__name__}: {" ".join(str(found).split())}'
        seconds = time.monotonic() - start
        self.record['checks'].append(dict(subject=subject, check=name, status=status, words=words, seconds=seconds))
        report(f'{subject}, {name}: {status}, {words} ({seconds:.1f} s)')

    def _checks(self, name: str) -> Callable[[], DeviceChecks]:
        return cache(partial(DeviceChecks, name, self.device))

    def _gemm_rate(self) -> str:
        rate = self.record['gemm_rate'] = square_rate(self.device, torch.bfloat16)
        return f'{rate / 1e12:.3g} TFLOP/s'

    def _compare(self, name: str) -> str:
        pair = self.pairs[name]
        models = Models(pair, self.device)
        words = []
        for mode in MODES:
            settings = Settings(mode, self.settings.batch, pair.frames, pair.size, self.device, self.settings.precision)
            for call, count in Counter(models.attention_calls(settings)).items():
                self.record['attention'].append(dict(model=name, mode=mode, count=count, **call._asdict()))
            row = models.compare(name, settings, self.record['gemm_rate'], RUNS, WARMUP)
            self.record['rows'].append(row)
            self.record['targets'] += targets(row)
            words.append(f'{mode} {row["time_ratio"]["median"]:.2f} of the time')
        return ', '.join(words)

    def _kernels(self) -> str:
        self.record['kernels'] = kernel_times(self.device, self.small)
        return f'{len(self.record["kernels"])} candidates'


def _on(checks: Callable[[], DeviceChecks], method: Callable[[DeviceChecks], str]) -> str:
    return method(checks())


def summary(record: dict[str, Any]) -> str:
    """Return the tables of a record, those of the targets last."""
    calls = [
        (row['model'], row['mode'], row['count'], row['backend'], ' x '.join(map(str, row['shape'])), row['bias'])
        for row in record['attention']
    ]
    kernels = [
        (row['kernel'], row['candidate'], '-' if row['seconds'] is None else f'{1000 * row["seconds"]:.3g} ms')
        for row in record['kernels']
    ]
    met = {True: 'met', False: 'NOT MET'}
    wanted = [
        (row['model'], row['mode'], row['target'], f'{row["value"]:.2f}', met[row['met']]) for row in record['targets']
    ]
    counts = Counter(row['status'] for row in record['checks'])
    parts = [
        markdown(('model', 'mode', 'attentions', 'backend', 'groups x heads x tokens x channels', 'bias'), calls),
        markdown(('kernel', 'candidate', 'forward and backward'), kernels),
        table(record['rows']),
        '\n'.join(f'{r["subject"]}, {r["check"]}: {r["words"]}' for r in record['checks'] if r['status'] == 'FAILED'),
        f'left out, since the time is up: {", ".join(record["left_out"])}' if record['left_out'] else '',
        markdown(('model', 'mode', 'target', 'value', ''), wanted),
        f'{record["machine"]["gpu"] or record["machine"]["processor"]}: {counts["ok"]} ok, {counts["FAILED"]} failed, '
        f'{counts["skipped"]} skipped, {len(record["left_out"])} left out; '
        f'{sum(row["met"] for row in record["targets"])} of {len(record["targets"])} targets met',
    ]
    return '\n\n'.join(filter(None, parts))
