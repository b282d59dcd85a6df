"""The costs of docs/benchmarks.md: multiply-adds against frames, and the fits."""

import json
from pathlib import Path

import numpy as np
import pytest
import scaling
import torch

LINEAR = ('ViViT 2, encoder', 'TimeSformer divided', 'TimeSformer axial')
FRAMES = (8, 16, 32, 64, 96)


@pytest.mark.parametrize('design', [*LINEAR, 'TimeSformer joint', 'ViViT 1, joint'])
def test_multiply_adds_over_frames(design: str) -> None:
    """Linear but for joint attention, whose products of all pairs of tokens are a parabola."""
    counted = [scaling.multiply_adds(design, 1, frames, 224) for frames in FRAMES]
    exponent, linear = scaling.fit(FRAMES, counted)
    if design in LINEAR:
        assert linear > 0.999 and exponent == pytest.approx(1, abs=0.05)
    else:
        assert linear < 0.99 and exponent > 1.2


def test_space_attention_is_exactly_linear() -> None:
    counted = [scaling.multiply_adds('TimeSformer space', 1, frames, 224) for frames in (8, 16, 24)]
    assert counted[2] - counted[1] == counted[1] - counted[0] > 0


def test_fit() -> None:
    x = [1.0, 2.0, 4.0, 8.0]
    assert scaling.fit(x, [3 * v for v in x]) == (pytest.approx(1), pytest.approx(1))
    exponent, linear = scaling.fit(x, [v**2 for v in x])
    assert exponent == pytest.approx(2) and linear < 0.97


@pytest.mark.parametrize('design', ['Video Swin', 'UniFormer split', 'ViViT 2, encoder', 'TimeSformer axial'])
def test_measured_costs(design: str) -> None:
    torch.manual_seed(0)
    cost = scaling.measure(design, scaling.DESIGNS[design]().eval(), runs=1, batch=1, frames=2, size=32)
    assert cost.macs > 0 and cost.seconds > 0
    assert 0.02 < cost.mib < 100


def test_figure_and_table(tmp_path: Path) -> None:
    costs = []
    for name in ('Video Swin', 'ViViT 1, joint'):
        for shape in scaling.shapes():
            batch, frames, size = (float(shape[axis]) for axis in ('batch', 'frames', 'size'))
            costs.append(dict(shape, design=name, seconds=batch * frames**2 * size**2, mib=batch * frames * size))
    scaling.draw(costs, tmp_path / 'x.png')
    assert (tmp_path / 'x.png').read_bytes().startswith(b'\x89PNG')
    row = '| 2.00 (0.9621) | 1.00 | 1.00 | 1.00 (1.0000) | 0.50 | 1.00 |'
    assert scaling.table(costs).splitlines()[2:] == [f'| {name} {row}' for name in ('Video Swin', 'ViViT 1, joint')]


def test_page_has_every_design_and_its_numbers() -> None:
    docs = Path(scaling.DOCS)
    costs = json.loads((docs / 'scaling.json').read_text())['costs']
    assert list(dict.fromkeys(cost['design'] for cost in costs)) == list(scaling.DESIGNS)
    assert scaling.table(costs) in (docs / 'benchmarks.md').read_text(encoding='utf-8')
    for design in LINEAR:
        for key in ('seconds', 'mib'):
            assert scaling.fit(*scaling.curve(costs, design, 'frames', key))[1] >= 0.99
    assert all(np.isfinite([cost['seconds'], cost['mib']]).all() for cost in costs)
