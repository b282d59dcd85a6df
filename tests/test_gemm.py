"""The rate of matrix products: which products are counted, and that one pass runs all of them."""

import pytest
import torch
from torch import nn

from vidtx_mm.benchmark import gemm
from vidtx_mm.benchmark.gemm import GemmRate, linear_products, square_rate
from vidtx_mm.layers import Attention


def test_products_of_linear_layers_alone() -> None:
    with torch.device('meta'):
        model = nn.Sequential(Attention(8, 2), nn.Linear(8, 16, bias=False))
    assert linear_products(model, (2, 5, 8)) == {(10, 8, 24): 1, (10, 8, 8): 1, (10, 8, 16): 1}


def test_rate_counts_two_operations_for_each_multiply_add(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 10.0, 10.5])  # the first pass warms up
    monkeypatch.setattr('time.perf_counter', lambda: next(clock))
    products = []
    mm = torch.mm
    monkeypatch.setattr(torch, 'mm', lambda x, y, out: products.append(mm(x, y, out=out)))
    rate = GemmRate({(3, 4, 5): 2, (6, 7, 8): 1})
    assert [tuple(p.shape) for p in products] == [(3, 5), (3, 5), (6, 8)]
    assert rate() == 2 * (2 * 3 * 4 * 5 + 6 * 7 * 8) / 0.5


def test_rate_of_square_products_is_the_best_of_the_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    rates = iter([2.0, 5.0, 3.0])
    runs = []

    class Recorded(GemmRate):
        def __call__(self) -> float:
            runs.append((super().__call__(), torch.get_num_threads(), self.operands[8, 8, 8][2].dtype))
            return next(rates) if len(runs) > 1 else 9.0  # the first call warms up

    monkeypatch.setattr(gemm, 'GemmRate', Recorded)
    monkeypatch.setitem(gemm.SQUARES, 'cpu', {(8, 8, 8): 1})
    before = torch.get_num_threads()
    assert square_rate('cpu', torch.bfloat16, threads=1, runs=3) == 5.0
    assert all(rate > 0 and threads == 1 and dtype == torch.bfloat16 for rate, threads, dtype in runs)
    assert torch.get_num_threads() == before
