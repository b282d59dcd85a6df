"""Timing of calls; CUDA's stream is a fake one whose clock each call advances."""

from itertools import count

import pytest
import torch

from vidtx_mm.benchmark import timing


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

    assert timing.timed(call, 'cuda') == (pytest.approx(0.02), 'call 10')
    assert stream.log == ['synchronize', 'record', *['call'] * 10, 'record', 'wait']


def test_one_call_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(step=3.0)
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: next(clock))
    calls: list[int] = []
    assert timing.timed(lambda: calls.append(1), 'cpu') == (3.0, None)
    assert len(calls) == 1
