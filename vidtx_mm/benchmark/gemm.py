"""Rate of matrix products on a device, the yardstick for the time of a model.

The limit of a model is the time that its multiply-adds would take at the rate of the products of its linear layers.
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

Product = tuple[int, int, int]  # rows, inner size, columns
SQUARES: dict[str, dict[Product, int]] = {'cpu': {(2048, 2048, 2048): 1}, 'cuda': {(8192, 8192, 8192): 20}}


class GemmRate:
    """Measure matrix products of given sizes: a call runs each as often as ``products`` says."""

    def __init__(
        self, products: Mapping[Product, int], device: str = 'cpu', dtype: torch.dtype = torch.float32
    ) -> None:
        self.products, self.device = dict(products), device
        self.flops = sum(2 * rows * inner * columns * count for (rows, inner, columns), count in products.items())
        options: dict[str, Any] = dict(device=device, dtype=dtype)
        self.operands = {
            (rows, inner, columns): (
                torch.randn(rows, inner, **options),
                torch.randn(columns, inner, **options).t(),  # as a linear layer keeps its weight
                torch.empty(rows, columns, **options),
            )
            for rows, inner, columns in products
        }
        self()  # the first call loads and chooses kernels

    def __call__(self) -> float:
        """Return the rate of one pass over the products in FLOP/s, two for each multiply-add."""
        self._synchronize()
        start = time.perf_counter()
        for size, count in self.products.items():
            x, weight, out = self.operands[size]
            for _ in range(count):
                torch.mm(x, weight, out=out)
        self._synchronize()
        return self.flops / (time.perf_counter() - start)

    def _synchronize(self) -> None:
        if self.device == 'cuda':
            torch.cuda.synchronize()


def square_rate(device: str, dtype: torch.dtype, threads: int | None = None, runs: int = 5) -> float:
    """Return the rate of large square products in FLOP/s, the best of ``runs``."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        rate = GemmRate(SQUARES[device], device, dtype)
        return max(rate() for _ in range(runs))
    finally:
        torch.set_num_threads(before)


def linear_products(model: nn.Module, shape: tuple[int, ...]) -> Counter[Product]:
    """Count the products of the linear layers of a model on the meta device, for an input of ``shape``."""
    with torch.no_grad(), _Products() as recorder:
        model(torch.empty(shape, device='meta'))
    return recorder.found


class _Products(TorchDispatchMode):
    """Record the sizes of matrix products; those of attention, which come in batches, are not among them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            x, weight = args[-2:]
            self.found[(*x.shape, weight.shape[1])] += 1
        return func(*args, **(kwargs or {}))
