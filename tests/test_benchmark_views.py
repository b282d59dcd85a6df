"""vidtx benchmark-views: rows and scores, without timings."""

import json
from pathlib import Path

import pytest
import torch

from vidtx_mm.benchmark.views_side import Video
from vidtx_mm.cli import main

CONFIG = Path(__file__).parents[1] / 'configs/demo/vivit_shapes.py'


def test_chosen_and_fixed_numbers_give_the_same_scores(tmp_path: Path) -> None:
    out = tmp_path / 'rows.json'
    argv = f'benchmark-views {CONFIG} --views 3 --shape 3 4 16 16 --rounds 2 --threads 1 --out {out}'
    assert main(argv.split()) == 0
    rows = json.loads(out.read_text())['rows']
    assert [row['side'] for row in rows] == ['chosen', '3']
    assert all(row['difference'] < 1e-6 and row['seconds'] > 0 and row['peak_mib'] > 1 for row in rows)
    assert rows[-1]['ratio'] == dict(median=1.0, least=1.0, most=1.0)


def test_a_side_takes_the_number_and_the_whole_video() -> None:
    side = Video(str(CONFIG), [5, 3, 4, 16, 16], 2, 'cpu')
    calls: list[int] = []
    side.model.backbone.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    seconds, scores = side.run()
    assert calls == [2, 2, 1]
    assert seconds > 0 and len(set(scores)) == len(scores) > 1


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert main(['benchmark-views', str(CONFIG), '--device', 'cuda']) == 2
    assert "device 'cuda' is asked for, but torch" in capsys.readouterr().err.splitlines()[-1]
