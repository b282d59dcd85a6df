"""Time a call on a device."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar('Result')
CALLS = {'cpu': 1, 'cuda': 10}  # in a measured run: on a GPU, so many are queued before any is waited for


def timed(function: Callable[[], Result], device: str) -> tuple[float, Result]:
    """Run a function ``CALLS[device]`` times; return the seconds of one call and the result of the last.

    On CUDA, events of the stream take the time, so that it holds all kernels and no wait of the CPU between calls.
    """
    calls = CALLS[device]
    if device == 'cuda':
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        result = _repeat(function, calls)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1000 / calls, result
    begin = time.perf_counter()
    result = _repeat(function, calls)
    return (time.perf_counter() - begin) / calls, result


def _repeat(function: Callable[[], Result], calls: int) -> Result:
    for _ in range(calls - 1):
        function()
    return function()
