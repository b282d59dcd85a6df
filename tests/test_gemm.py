"""The rate of matrix products: which products are counted, and that one pass runs all of them."""

import pytest
import torch
from torch import nn

from vidtx_mm.benchmark.gemm import GemmRate, linear_products
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
