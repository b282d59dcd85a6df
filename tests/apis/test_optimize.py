"""optimize: modes against eager, the choice of 'auto', and what is refused; test_export.py has all families in ONNX."""

import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_export import MODELS, onnx, small
from torch import Tensor, nn

import vidtx_mm
from vidtx_mm.apis import optimize as module
from vidtx_mm.apis.optimize import Optimized, optimize, time_in_turn

CLIP = (1, 3, 8, 64, 48)


class Doubled(nn.Module):
    """A model with two outputs."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, 2 * x


@onnx
def test_onnx_gives_the_scores_of_the_model() -> None:
    torch.manual_seed(0)
    model, clip = small('vivit'), torch.randn(CLIP)
    served = optimize(model, torch.randn(CLIP), 'onnx')
    assert served.mode == 'onnx' and 0 <= served.difference < 1e-4
    torch.testing.assert_close(served(clip), model(clip).detach(), rtol=1e-4, atol=1e-4)


def test_compile_takes_weights_as_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    options, compile = [], torch.compile
    monkeypatch.setattr(torch, 'compile', lambda model, **given: options.append(given) or compile(model, **given))
    model, x = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid()).eval(), torch.randn(2, 4)
    served = optimize(model, torch.randn(2, 4), 'compile')
    assert options == [dict(dynamic=False, options={'freezing': True})]
    torch.testing.assert_close(served(x), model(x).detach())


def test_eager_records_no_gradients() -> None:
    served = vidtx_mm.optimize(nn.Linear(4, 3).eval(), torch.randn(2, 4), 'eager')
    assert not served(torch.randn(2, 4)).requires_grad and served.difference == 0


def test_several_outputs() -> None:
    served = optimize(Doubled().eval(), torch.ones(2), 'eager')
    assert [y.tolist() for y in served(torch.ones(2))] == [[1, 1], [2, 2]]


def test_auto_returns_the_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'EXACT', ('eager', 'compile'))
    monkeypatch.setitem(module.MODES, 'compile', lambda model, x: model)
    monkeypatch.setattr(
        module, 'time_in_turn', lambda calls, rounds, device: dict(eager=[3.0, 1.0, 3.0], compile=[2.0, 2.0, 9.0])
    )
    served = optimize(nn.Identity().eval(), torch.ones(2))
    assert served.mode == 'compile' and served.seconds == dict(eager=3.0, compile=2.0)


def test_auto_leaves_out_modes_that_do_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(model: nn.Module, x: Tensor) -> None:
        raise RuntimeError('no compiler')

    monkeypatch.setattr(module, 'EXACT', ('eager', 'compile'))
    monkeypatch.setitem(module.MODES, 'compile', broken)
    with pytest.warns(UserWarning, match="mode 'compile' does not work here: RuntimeError: no compiler"):
        assert set(optimize(nn.Identity().eval(), torch.ones(2)).seconds) == {'eager'}


def test_calls_take_turns() -> None:
    order: list[str] = []
    seconds = time_in_turn({name: lambda name=name: order.append(name) for name in 'ab'}, rounds=2)
    assert order == ['a', 'b'] * 3 and [len(times) for times in seconds.values()] == [2, 2]


def test_calls_on_a_gpu_are_timed_there(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[str] = []

    def timed(call: Callable[[], Any], device: str) -> tuple[float, Any]:
        devices.append(device)
        return 1.0, call()

    monkeypatch.setattr(module, 'timed', timed)
    optimize(nn.Identity().eval(), torch.ones(2))
    time_in_turn(dict(a=int), 1, 'cuda')
    assert devices[-1] == 'cuda' and set(devices[:-1]) == {'cpu'}


@pytest.mark.parametrize('family', MODELS)
def test_bf16_on_demand(family: str) -> None:
    torch.manual_seed(0)
    model, clip = small(family), torch.randn(CLIP)
    served = optimize(model, clip, 'bf16')
    assert 'bf16' not in module.EXACT and served(clip).dtype == torch.float32
    assert 0 < served.difference < 0.05 * max(1.0, float(model(clip).abs().max()))


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match="mode='openvino': choose one of 'auto', 'eager', 'compile', 'onnx', 'bf16'"):
        optimize(nn.Identity().eval(), torch.ones(2), 'openvino')


@pytest.mark.parametrize('mode', ['auto', 'eager'])
def test_model_in_training_mode(mode: str) -> None:
    with pytest.raises(ValueError, match=r'the model is in training mode: call model.eval\(\) first'):
        optimize(nn.Identity(), torch.ones(2), mode)


@pytest.mark.parametrize('mode', ['auto', 'onnx'])
def test_example_of_a_wrong_shape(mode: str) -> None:
    with pytest.raises(ValueError, match='expected a 5-dimensional .* input, got shape'):
        optimize(small('vivit'), torch.ones(3, 8, 64, 48), mode)


def test_input_of_another_shape() -> None:
    served = optimize(nn.Identity().eval(), torch.ones(2, 3), 'eager')
    with pytest.raises(ValueError, match=r'input of shape \(1, 3\), but the model was optimized for \(2, 3\)'):
        served(torch.ones(1, 3))


def test_absent_onnxruntime_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ModuleNotFoundError, match="onnxruntime is not installed: .*the extra 'export'"):
        optimize(nn.Identity().eval(), torch.ones(2), 'onnx')


def test_onnx_on_another_device() -> None:
    with pytest.raises(ValueError, match="mode='onnx' runs on the CPU, but the example is on meta"):
        module.MODES['onnx'](nn.Identity().eval(), torch.ones(2, device='meta'))


def test_outputs_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.MODES, 'compile', lambda model, x: lambda x: x + 1)
    with pytest.raises(ValueError, match="mode='compile': outputs up to 1 differ by 1.0e"):
        optimize(nn.Identity().eval(), torch.ones(2), 'compile')
    assert isinstance(optimize(nn.Identity().eval(), torch.ones(2), 'eager'), Optimized)
