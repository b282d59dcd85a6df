"""vidtx gpu-check on the CPU: the same code, with what only CUDA has left out."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from vidtx_mm.benchmark.device_checks import CHECKS, MODELS, CheckError, DeviceChecks, waits_are_errors
from vidtx_mm.benchmark.device_tables import targets
from vidtx_mm.benchmark.gpu_check import GpuCheck, Item, summary
from vidtx_mm.benchmark.sdpa import FUSED, AttentionCalls
from vidtx_mm.cli import main


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, Any], str]:
    """Exit code, record and printed text of a small run."""
    file = tmp_path_factory.mktemp('gpu') / 'new' / 'record.json'
    with pytest.MonkeyPatch.context() as patch:
        printed: list[str] = []
        patch.setattr('click.echo', lambda line='', err=False: None if err else printed.append(line))
        code = main(['gpu-check', '--device', 'cpu', '--small', '--out', str(file)])
    return code, json.loads(file.read_text()), '\n'.join(printed)


def test_small_run(run: tuple[int, dict[str, Any], str]) -> None:
    code, record, printed = run
    status = {(row['subject'], row['check']): row['status'] for row in record['checks']}
    assert code == 0 and not record['left_out']
    assert status.pop(('vivit', 'no wait')) == 'skipped' and set(status.values()) == {'ok'}
    assert {check for subject, check in status if subject == 'vivit'} == {*CHECKS} - {'no wait'}
    assert {
        ('device', 'many groups'),
        ('device', 'views of a test'),
        ('device', 'kernels'),
        ('swin3d_t', 'tables'),
    } <= set(status)
    assert record['gemm_rate'] > 1e8 and record['versions']['torch'] == version('torch')
    assert [row['settings']['mode'] for row in record['rows']] == ['forward', 'train']
    assert all(row['settings']['precision'] == 'bf16' for row in record['rows'])
    assert 0 < record['rows'][0]['difference'] < 1  # of bf16 outputs on the same weights
    assert all(call['backend'] in ('flash', 'math') and call['bias'] for call in record['attention'])
    assert printed.splitlines()[-1].startswith(record['machine']['processor'])
    assert printed.splitlines()[-1].endswith(f'of {len(record["targets"])} targets met') and len(record['targets']) == 3


def test_without_a_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert main(['gpu-check']) == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith("finds no GPU; use device='cpu'")


class Tiny(nn.Module):
    """A linear layer on channel means; ``offset`` of the clips is added to the output."""

    def __init__(self, offset: Callable[[Tensor], Any] = lambda clips: 0.0) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.offset = offset

    def forward(self, clips: Tensor) -> Tensor:
        return self.fc(clips.mean((2, 3, 4))) + self.offset(clips)


def tiny(monkeypatch: pytest.MonkeyPatch, build: Callable[..., nn.Module] = Tiny) -> DeviceChecks:
    monkeypatch.setitem(MODELS, 'tiny', (build, (2, 4, 4)))
    return DeviceChecks('tiny', 'cpu')


def test_wrong_outputs_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = tiny(monkeypatch)
    assert 'output' in checks.single() and 'gradients' in checks.autocast(torch.bfloat16)
    checks.state['fc.bias'] += 1
    with pytest.raises(CheckError, match='output: relative error .*, limit 1e-04'):
        checks.single()
    with pytest.raises(CheckError, match='output: relative error .*, limit 5e-02'):
        checks.autocast(torch.bfloat16)
    checks.state['fc.bias'] *= torch.nan
    with pytest.raises(CheckError, match='output not finite'):
        checks.autocast(torch.float16)


def test_wrong_gradients_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    checks = tiny(monkeypatch)
    checks.expected = (checks.expected[0], 2 * checks.expected[1])
    with pytest.raises(CheckError, match='gradients: relative error 5.0e-01, limit 1e-03'):
        checks.single()


def test_clips_that_depend_on_their_batch_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny(monkeypatch).one_by_one()
    with pytest.raises(CheckError, match='output: relative error'):
        tiny(monkeypatch, lambda: Tiny(lambda clips: clips.sum())).one_by_one()


def test_checkpointing_that_changes_something_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny(monkeypatch, lambda with_cp=False: Tiny()).checkpointing()
    with pytest.raises(CheckError, match='output: relative error'):
        tiny(monkeypatch, lambda with_cp=False: Tiny(lambda clips: float(with_cp))).checkpointing()


def test_compiled_models_are_compared_and_have_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny(monkeypatch).compiled('eager')

    def other(clips: Tensor) -> float:
        return float(torch.compiler.is_compiling())

    with pytest.raises(CheckError, match='output: relative error'):
        tiny(monkeypatch, lambda: Tiny(other)).compiled('eager')
    with pytest.raises(torch._dynamo.exc.Unsupported):
        tiny(monkeypatch, lambda: Tiny(lambda clips: torch._dynamo.graph_break() or 0.0)).compiled('eager')


def test_waits_are_errors_for_the_time_being(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    monkeypatch.setattr(torch.cuda, 'set_sync_debug_mode', modes.append)
    with pytest.raises(CheckError, match='^called a synchronizing CUDA operation$'):
        with waits_are_errors():
            raise RuntimeError('called a synchronizing CUDA operation\nmore')
    assert modes == ['error', 'default']


class Listed(GpuCheck):
    """A run of given items."""

    def __init__(self, *functions: Callable[[], str]) -> None:
        super().__init__('cpu', small=True)
        self.functions = functions

    def items(self) -> Iterator[Item]:
        yield from (('model', str(index), function) for index, function in enumerate(self.functions))


def test_an_item_that_fails_stops_no_other() -> None:
    def fail() -> str:
        raise KeyError('two\nlines')

    lines: list[str] = []
    record = Listed(fail, lambda: 'fine').run(60, lines.append)
    assert [row['status'] for row in record['checks']] == ['FAILED', 'ok'] and len(lines) == 2
    assert "model, 0: KeyError: 'two\\nlines'" in summary(record)
    assert '1 ok, 1 failed, 0 skipped, 0 left out' in summary(record)


def wait() -> str:
    time.sleep(60)
    return 'waited'


def swallow() -> str:
    with suppress(BaseException):
        time.sleep(60)
    return 'went on'


@pytest.mark.parametrize(
    ('functions', 'done', 'left'),
    [((lambda: 'ok', wait, wait), ['0'], ['model: 1', 'model: 2']), ((swallow, wait), ['0'], ['model: 1'])],
)
def test_the_time_limit_ends_a_run(functions: tuple[Callable, ...], done: list[str], left: list[str]) -> None:
    start, handler = time.monotonic(), signal.getsignal(signal.SIGALRM)
    record = Listed(*functions).run(0.3, lambda line: None)
    assert time.monotonic() - start < 10 and signal.getsignal(signal.SIGALRM) is handler
    assert [row['check'] for row in record['checks']] == done and record['left_out'] == left
    assert f'left out, since the time is up: {", ".join(left)}' in summary(record)


def test_targets() -> None:
    row = dict(name='vivit_b', flops=7e12, gemm_rate=10e12, ours=dict(median=2.0), memory_ratio=0.61)
    (share,) = targets(row | dict(settings=dict(mode='forward')))
    assert share['value'] == pytest.approx(0.35) and share['met'] and share['target'] == 'share of GEMM rate >= 0.35'
    speed, memory = targets(row | dict(settings=dict(mode='train'), time_ratio=dict(median=0.7)))
    assert not speed['met'] and speed['value'] == pytest.approx(1 / 0.7) and speed['target'] == 'speed-up >= 1.5'
    assert not memory['met']


def test_attention_backends_by_their_operators() -> None:
    q = torch.randn(2, 3, 4, 8)
    with AttentionCalls() as recorder:
        F.scaled_dot_product_attention(q, q, q)
        with sdpa_kernel(SDPBackend.MATH):
            F.scaled_dot_product_attention(q, q, q, attn_mask=torch.zeros(4, 4))
    assert recorder.calls == [('flash', q.shape, False), ('math', q.shape, True)]
    for backend in ('flash', 'efficient', 'cudnn'):
        operator = getattr(torch.ops.aten, f'_scaled_dot_product_{backend}_attention')
        assert FUSED.search(operator.__name__)[1] == backend
