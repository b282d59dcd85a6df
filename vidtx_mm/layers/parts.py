"""Computing a batch in parts, where one pass over all of it would only take memory."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# 8 MiB in float32: what a layer makes in between then stays in the cache, and the next part takes the same memory.
PART_VALUES = 2**21


def in_parts(function: Callable[[Tensor], Tensor], x: Tensor, values: int) -> Tensor:
    """``function(x)``, which treats the entries along the first axis apart, with ``values`` values in between for each.

    Inference on a CPU computes it in equal parts of at most ``PART_VALUES``, everything else in one.
    """
    parts = math.ceil(len(x) * values / PART_VALUES)
    if parts <= 1 or torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != 'cpu':
        return function(x)
    # Written one by one: parts that wait in a list to be joined would lie scattered between the memory already freed.
    size = math.ceil(len(x) / parts)
    first = function(x[:size])
    result = first.new_empty(len(x), *first.shape[1:])
    result[:size] = first
    for start in range(size, len(x), size):
        result[start : start + size] = function(x[start : start + size])
    return result
