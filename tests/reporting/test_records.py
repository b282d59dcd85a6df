"""Curves from MMEngine's logs, those of resumed and killed runs included."""

import json
from pathlib import Path

import pytest

from vidtx_mm.reporting.records import read_curves


def log(folder: Path, *rows: dict, tail: str = '') -> None:
    path = folder / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + tail)


def train(iter: int, epoch: int, loss: float) -> dict:
    return dict(loss=loss, lr=0.1, iter=iter, step=iter, epoch=epoch)


def test_epochs(tmp_path: Path) -> None:
    log(tmp_path / '1', train(5, 1, 2.0), train(10, 1, 1.0), {'acc/top1': 0.3, 'step': 1}, train(20, 2, 0.5))
    curves = read_curves(tmp_path)
    assert curves.unit == 'epoch'
    assert curves.train['loss'] == [(0.5, 2.0), (1.0, 1.0), (2.0, 0.5)]
    assert curves.val == {'acc/top1': [(1.0, 0.3)]}


def test_a_resumed_run_goes_on_and_its_log_counts(tmp_path: Path) -> None:
    log(tmp_path / '20260101_1', train(10, 1, 1.0), train(20, 2, 9.0), tail='{"loss": 0.')
    log(tmp_path / '20260102_1', train(20, 2, 0.5), train(30, 3, 0.25))
    assert read_curves(tmp_path).train['loss'] == [(1.0, 1.0), (2.0, 0.5), (3.0, 0.25)]


def test_runs_by_iteration(tmp_path: Path) -> None:
    log(tmp_path / '1', dict(loss=1.0, iter=50, step=50), {'mIoU': 30.0, 'step': 50})
    curves = read_curves(tmp_path)
    assert curves.unit == 'iteration' and curves.train['loss'] == [(50.0, 1.0)] and curves.val['mIoU'] == [(50.0, 30.0)]


def test_no_log(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='has no training log .*give the work dir of a run'):
        read_curves(tmp_path)
