"""vidtx benchmark: structure of the record, ratios, and memory of a child, without timings."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vidtx_mm.benchmark import memory
from vidtx_mm.benchmark.pairs import PAIRS, Pair, Side, build_backbone
from vidtx_mm.benchmark.report import COLUMNS, summarize, table
from vidtx_mm.benchmark.run import MeasurementError, measure
from vidtx_mm.benchmark.worker import MODES, Finished, Settings, Step, perturb
from vidtx_mm.cli import main

SMALL = dict(frames=4, size=32, threads=1)


class Pooled(nn.Module):
    """Linear layer on the channel means of a clip; the forward pass allocates ``waste`` MiB."""

    def __init__(self, waste: int = 0) -> None:
        super().__init__()
        self.waste = waste
        self.fc = nn.Linear(3, 5)

    def forward(self, clips: Tensor) -> dict[str, Tensor]:
        torch.ones(self.waste, 1024, 256).sum()
        return {'scores': self.fc(clips.mean((2, 3, 4)))}


def pick(output: dict[str, Tensor]) -> Tensor:
    return output['scores']


def pair(ours: partial, reference: partial | None) -> Pair:
    sides = [None if build is None else Side(build, output=pick) for build in (ours, reference)]
    return Pair(sides[0], sides[1], frames=4, size=32)


def finished(peak: float, output: np.ndarray | None = None) -> Finished:
    return Finished(idle_mib=100.0, peak_mib=peak, output=output)


def test_ratios_are_of_neighboring_runs() -> None:
    seconds = dict(ours=[1.0, 2.0, 6.0], reference=[2.0, 8.0, 4.0])
    outputs = dict(ours=finished(30, np.array([1.0, 2.0])), reference=finished(60, np.array([1.5, 2.25])))
    row = summarize('x', Settings(), seconds, outputs, "the reference's")
    assert row['time_ratio'] == dict(median=0.5, least=0.25, most=1.5)
    assert row['memory_ratio'] == 0.5
    assert row['difference'] == 0.5
    assert (row['ours']['median'], row['ours']['least'], row['ours']['most']) == (2.0, 1.0, 6.0)


def test_no_difference_on_other_weights() -> None:
    seconds = dict(ours=[1.0], reference=[1.0])
    outputs = dict(ours=finished(1, np.zeros(2)), reference=finished(1, np.zeros(2)))
    assert summarize('x', Settings(), seconds, outputs, 'not mapped (KeyError: y)')['difference'] is None


def test_outputs_of_other_shapes_are_rejected() -> None:
    outputs = dict(ours=finished(1, np.zeros((2, 1))), reference=finished(1, np.zeros(2)))
    with pytest.raises(ValueError, match=r'ours \(2, 1\).*\(2,\)'):
        summarize('x', Settings(), dict(ours=[1.0], reference=[1.0]), outputs, "the reference's")


def test_pair_in_children() -> None:
    sides = pair(partial(Pooled), partial(Pooled, waste=64))
    row = measure('tiny', sides, Settings(batch=2, **SMALL), runs=3, warmup=1)
    assert [len(row[side]['seconds']) for side in ('ours', 'reference')] == [3, 3]
    assert all(second > 0 for side in ('ours', 'reference') for second in row[side]['seconds'])
    # The peak shows the 64 MiB of the reference, and hardly anything in ours.
    assert 60 < row['reference']['peak_mib'] - row['ours']['peak_mib'] < 80
    # The weights of a plain module cannot be mapped, which is reported and not fatal.
    assert row['weights'].startswith('not mapped') and row['difference'] is None
    json.dumps(row)
    lines = table([row]).splitlines()
    assert len(lines) == 3 and all(line.count('|') == len(COLUMNS) + 1 for line in lines)


def test_mapped_weights_give_the_difference_of_the_outputs() -> None:
    arch = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2])
    swin = dict(name='VideoSwin', arch=arch, window_size=(2, 7, 7), out_indices=(1,))
    sides = [Side(partial(build_backbone, **swin)) for _ in range(2)]
    row = measure('tiny', Pair(*sides, frames=4, size=32), Settings(**SMALL), runs=1, warmup=0)
    assert row['weights'] == "the reference's"
    assert row['difference'] == 0.0
    assert '| 0.0e+00 |' in table([row])


def test_a_training_step_alone() -> None:
    row = measure('tiny', pair(partial(Pooled, waste=64), None), Settings(mode='train', **SMALL), runs=2, warmup=0)
    assert row['reference'] is None and row['time_ratio'] is None
    assert len(row['ours']['seconds']) == 2 and row['ours']['peak_mib'] > 60
    assert table([row]).count('| - ') == 5
    assert row['flops'] == 3 * 2 * 3 * 5  # three passes of a linear layer from 3 to 5


def test_a_failing_side_is_named() -> None:
    broken = Pair(Side(partial(Pooled, no_such_option=1)), None, frames=4, size=32)
    with pytest.raises(MeasurementError, match='tiny, ours: TypeError.*no_such_option'):
        measure('tiny', broken, Settings(**SMALL), runs=1, warmup=0)


@pytest.mark.parametrize('mode', MODES)
def test_the_compiled_model_is_measured(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def compiled(model: nn.Module) -> Callable[[Tensor], dict[str, Tensor]]:
        return lambda clips: calls.append(len(clips)) or model(clips)

    monkeypatch.setattr(torch, 'compile', compiled)
    for wanted in (True, False):
        step = Step(Side(Pooled, output=pick), Pooled(), Settings(mode, 2, 4, 32, compile=wanted, precision='bf16'))
        seconds, output = step()
        assert seconds > 0 and output.shape == (2, 5) and output.dtype == torch.bfloat16
    assert calls == [2]


@pytest.mark.parametrize('device', ['cuda', 'cuda:0'])
def test_memory_of_a_gpu_is_that_of_the_allocator(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[int] = []
    monkeypatch.setattr(memory, '_load_libraries', lambda device: None)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 10 * 2**20)
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda: resets.append(1))
    measured = memory.Memory(device)
    measured.reset()
    assert (measured.idle, measured.peak(), resets) == (3.0, 7.0, [1])


@pytest.mark.parametrize('wrong', [dict(mode='backward'), dict(precision='fp8')])
def test_unknown_settings_list_the_valid_ones(wrong: dict) -> None:
    with pytest.raises(ValueError, match='choose one of'):
        Settings(**wrong)


def test_perturb_moves_every_parameter_and_statistic() -> None:
    model = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.LayerNorm(4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    perturb(model)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == set(before) - {'1.num_batches_tracked'}


def test_tool_writes_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setitem(PAIRS, 'tiny', pair(partial(Pooled), partial(Pooled)))
    file = tmp_path / 'out' / 'record.json'
    argv = [
        'benchmark',
        'tiny',
        '--alone',
        '--mode',
        'forward',
        '--runs',
        '2',
        '--batch',
        '1',
        '--batch',
        '3',
        '--warmup',
        '0',
        '--threads',
        '1',
        '--out',
        str(file),
    ]
    assert main(argv) == 0
    record = json.loads(file.read_text())
    assert record['command'].endswith(' '.join(argv))
    assert record['machine']['cores'] >= 1 and {'python', 'torch', 'mmengine'} <= set(record['versions'])
    assert [row['settings']['batch'] for row in record['rows']] == [1, 3]
    assert [row['flops'] for row in record['rows']] == [30, 90]
    assert all(row['gemm_rate'] > 1e8 for row in record['rows'])
    assert all((row['settings']['frames'], row['settings']['size']) == (4, 32) for row in record['rows'])
    printed = capsys.readouterr().out
    assert '| tiny | forward | 1 |' in printed and '| tiny | forward | 3 |' in printed


def test_tool_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert main(['benchmark', 'swin3d_t', '--device', 'cuda']) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("finds no GPU; use device='cpu'")


def test_tool_refuses_an_unknown_pair(capsys: pytest.CaptureFixture) -> None:
    assert main(['benchmark', 'swin9d']) == 2
    assert 'swin3d_t' in capsys.readouterr().err
