"""vidtx benchmark-serving: ratios, the limit, and the record, without timings."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vidtx_mm.apis import optimize
from vidtx_mm.benchmark import serving
from vidtx_mm.benchmark.pairs import PAIRS, Pair, Side
from vidtx_mm.cli import main


class Scores(nn.Module):
    """A linear layer, whose product is counted for the limit, and a batched product, which is not."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.flatten(1, 3).mean(1)  # (B, W)
        return self.fc(x) + (x[:, None] @ x[:, :, None])[..., 0]  # (B, 5)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A small pair, without the modes that take long."""
    modes = dict(eager=optimize.MODES['eager'], compile=optimize.MODES['eager'])
    for module in (optimize, serving):
        monkeypatch.setattr(module, 'MODES', modes)
    return Pair(Side(partial(Scores)), None, frames=2, size=4)


def test_ratios_are_of_the_same_round(tiny: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = dict(eager=[2.0, 8.0], compile=[1.0, 2.0], limit=[0.5, 1.0])
    monkeypatch.setattr(serving, 'time_in_turn', lambda calls, rounds: {name: seconds[name] for name in calls})
    eager, compiled = serving.measure_serving('tiny', tiny, 2, 4, batch=3, rounds=2)
    assert compiled['of_eager'] == [0.5, 0.25] and compiled['difference'] == 0.0
    whole = (4 * 5 + 4) / (4 * 5)  # all multiply-adds to those of the linear layer
    assert eager['of_limit'] == pytest.approx([2.0 / 0.5 / whole, 8.0 / 1.0 / whole])
    assert '| tiny | compile | 1.5 s (1-2) | 0.375 (0.25-0.5) |' in serving.serving_table([eager, compiled])


def test_command(tiny: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(PAIRS, 'tiny', tiny)
    file, threads = tmp_path / 'out' / 'record.json', torch.get_num_threads()
    argv = ['benchmark-serving', 'tiny', '--runs', '3', '--threads', str(threads), '--out', str(file)]
    assert main(argv) == 0
    assert '| tiny | eager |' in capsys.readouterr().out
    record = json.loads(file.read_text())
    assert record['command'].endswith(' '.join(argv)) and record['machine']['cores'] >= 1
    assert [(row['mode'], len(row['of_limit'])) for row in record['rows']] == [('eager', 3), ('compile', 3)]


def test_unknown_model(capsys: pytest.CaptureFixture) -> None:
    assert main(['benchmark-serving', 'swin9d']) == 2
    assert 'unknown model swin9d; choose from swin3d_t' in capsys.readouterr().err
