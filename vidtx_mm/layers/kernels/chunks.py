"""Computation in chunks of the batch, which bounds the memory of intermediate results."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

CHUNK_VALUES = 2**21  # 8 MiB in float32, which stay in the cache


def chunked(function: Callable[[Tensor], Tensor], x: Tensor, values: int) -> Tensor:
    """Return ``function(x)``, computed in equal chunks along the first axis where that is faster.

    Args:
        function: treats the entries of the first axis independently and keeps their number.
        x: (N, ...).
        values: size of the largest intermediate result per entry; a chunk makes at most ``CHUNK_VALUES`` of them.
    """
    if torch.compiler.is_compiling() or torch.is_grad_enabled() or x.device.type != 'cpu':
        return function(x)
    chunks = math.ceil(len(x) * values / CHUNK_VALUES)
    if chunks <= 1:
        return function(x)
    # Write each chunk at once: a list of results to concatenate would fragment the memory just freed.
    size = math.ceil(len(x) / chunks)
    first = function(x[:size])
    result = first.new_empty(len(x), *first.shape[1:])
    result[:size] = first
    for start in range(size, len(x), size):
        result[start : start + size] = function(x[start : start + size])
    return result
