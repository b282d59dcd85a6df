"""Time calls, and measure the rate of matrix products, the limit that models are compared with."""

import time
from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar('Result')
SIDES = {'cpu': 2048, 'cuda': 8192}  # of the square matrices
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


def gemm_rate(device: str, dtype: torch.dtype = torch.float32, threads: int | None = None, runs: int = 5) -> float:
    """Return the FLOP/s of square matrix products, the best of ``runs`` after one that warms up."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        side = SIDES[device]
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        return 2 * side**3 / min([timed(lambda: a @ b, device)[0] for _ in range(1 + runs)][1:])
    finally:
        torch.set_num_threads(before)
