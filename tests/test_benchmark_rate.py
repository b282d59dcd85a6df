"""Timing and the rate of matrix products; CUDA's stream is a fake one whose clock each call advances."""

from collections.abc import Iterator
from itertools import count

import pytest
import torch

from vidtx_mm.benchmark import rate


class Stream:
    """A clock in milliseconds, and a log of what was asked of CUDA."""

    def __init__(self) -> None:
        self.now = 0.0
        self.log: list[str] = []


class Event:
    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def record(self) -> None:
        self.at = self.stream.now
        self.stream.log.append('record')

    def synchronize(self) -> None:
        self.stream.log.append('wait')

    def elapsed_time(self, end: 'Event') -> float:
        return end.at - self.at


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    stream = Stream()

    def event(enable_timing: bool) -> Event:
        assert enable_timing
        return Event(stream)

    monkeypatch.setattr(torch.cuda, 'Event', event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: stream.log.append('synchronize'))
    return stream


def test_cuda_is_timed_by_events_around_several_calls(stream: Stream) -> None:
    def call() -> str:
        stream.now += 20
        stream.log.append('call')
        return f'call {stream.log.count("call")}'

    assert rate.timed(call, 'cuda') == (pytest.approx(0.02), 'call 10')
    assert stream.log == ['synchronize', 'record', *['call'] * 10, 'record', 'wait']


def test_one_call_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(step=3.0)
    monkeypatch.setattr(rate.time, 'perf_counter', lambda: next(clock))
    calls: list[int] = []
    assert rate.timed(lambda: calls.append(1), 'cpu') == (3.0, None)
    assert len(calls) == 1


def test_rate_of_matrix_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """2 n^3 operations by the fastest run after the first, which only warms up; the threads are as before."""
    seconds: Iterator[float] = iter([0.001, 0.5, 0.25, 1.0])
    products = []

    def timed(function, device):
        products.append((function(), torch.get_num_threads()))
        return next(seconds), None

    monkeypatch.setattr(rate, 'timed', timed)
    monkeypatch.setitem(rate.SIDES, 'cpu', 8)
    before = torch.get_num_threads()
    assert rate.gemm_rate('cpu', torch.bfloat16, threads=1, runs=3) == 2 * 8**3 / 0.25
    assert all(p.shape == (8, 8) and p.dtype == torch.bfloat16 and threads == 1 for p, threads in products)
    assert torch.get_num_threads() == before
