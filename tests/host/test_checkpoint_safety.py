"""The repair ``weights_only`` keeps torch's protection against code in checkpoints."""

import logging
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR, OneCycleParamScheduler

import vidtx_mm  # noqa: F401


class Reduced:
    """Unpickle as a call of ``function(*args)``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@pytest.mark.parametrize(
    'payload',
    [
        Reduced(print, 'ran'),
        Reduced(eval, "print('ran')"),
        Reduced(getattr, HistoryBuffer, '__init__'),
        Reduced(getattr, Reduced(getattr, HistoryBuffer, '__init__'), '__globals__'),
        Reduced(getattr, OneCycleParamScheduler, 'step'),
        Reduced(getattr, np.ndarray, 'tofile'),
        Reduced(logging.FileHandler, 'ran.log'),
    ],
    ids=[
        'print',
        'eval',
        'getattr of a dunder',
        'getattr of globals',
        'getattr of a scheduler',
        'getattr of numpy',
        'file',
    ],
)
def test_hostile_checkpoints_are_rejected(payload: Reduced, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({'state_dict': payload}, tmp_path / 'hostile.pth')
    capsys.readouterr()
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / 'hostile.pth', weights_only=True)
    assert 'ran' not in capsys.readouterr().out


@pytest.mark.parametrize('home', ['numpy.core', 'numpy._core'])
@pytest.mark.parametrize('value', [np.float64(2.5), np.arange(3, dtype='i4'), np.array([True]), np.float32([[1, 2]])])
def test_arrays_written_by_either_numpy_load(home: str, value: Any, tmp_path: Path) -> None:
    torch.save({'best_score': value}, tmp_path / 'here.pth')
    with zipfile.ZipFile(tmp_path / 'here.pth') as here, zipfile.ZipFile(tmp_path / 'there.pth', 'w') as there:
        for name in here.namelist():
            content = here.read(name)
            if name.endswith('data.pkl'):
                content = re.sub(rb'numpy\._?core\.multiarray', f'{home}.multiarray'.encode(), content)
                assert f'{home}.multiarray'.encode() in content
            there.writestr(name, content)
    loaded = torch.load(tmp_path / 'there.pth', weights_only=True)['best_score']
    np.testing.assert_array_equal(loaded, value, strict=True)


@pytest.mark.parametrize('anneal_strategy', ['cos', 'linear'])
def test_a_one_cycle_schedule_resumes(anneal_strategy: str, tmp_path: Path) -> None:
    """Its state holds a function, which torch rejects by default."""

    def schedule() -> OneCycleLR:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        return OneCycleLR(optimizer, eta_max=0.1, total_steps=9, anneal_strategy=anneal_strategy, by_epoch=False)

    whole = schedule()
    rates = []
    for step in range(8):
        if step == 4:
            torch.save([whole.state_dict(), whole.optimizer.state_dict()], tmp_path / 'epoch_1.pth')
        whole.step()
        rates.append(whole.get_last_value())
    resumed = schedule()
    state, optimizer = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    resumed.load_state_dict(state)
    resumed.optimizer.load_state_dict(optimizer)
    for rate in rates[4:]:
        resumed.step()
        assert resumed.get_last_value() == rate
