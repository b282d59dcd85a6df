"""Models prepared for inference on inputs of one shape."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from vidtx_mm.benchmark.timing import timed
from vidtx_mm.checks import choose

from .export import TOLERANCE, outputs, write_onnx

ROUNDS = 5
BF16_TOLERANCE = 0.05  # of the largest output; its numbers have 8 bits
Run = Callable[[Tensor], Any]


@dataclass(frozen=True)
class Optimized:
    """A model in a serving mode. Call it like the model; it records no gradients.

    Attributes:
        mode: 'eager', 'compile', 'onnx' or 'bf16'.
        shape: the shape of its inputs.
        difference: largest absolute difference of an output on the example.
        seconds: median time of a call in each mode, where ``mode='auto'`` chose among them.
    """

    run: Run = field(repr=False)
    mode: str
    shape: tuple[int, ...]
    difference: float
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __call__(self, x: Tensor) -> Any:
        if x.shape != self.shape:
            raise ValueError(
                f'input of shape {tuple(x.shape)}, but the model was optimized for {self.shape}: call optimize with an '
                'example of the shape to serve'
            )
        with torch.no_grad():
            return self.run(x)


def optimize(model: nn.Module, example: Tensor, mode: str = 'auto') -> Optimized:
    """Prepare a model for inference on inputs with the shape of ``example``.

    Args:
        model: takes one tensor and returns one tensor or a tuple of them; in eval mode.
        example: an input, on the device of the model.
        mode: 'eager' is the model as it is, 'compile' is ``torch.compile`` with weights as constants, 'onnx' is ONNX
            Runtime on the CPU. 'auto' prepares all of these that work here, times them in turn and returns the fastest.
            'bf16' is autocast, which changes outputs in their third digit and is therefore taken on demand alone.

    Raises:
        ValueError: if the mode is unknown, the model is in training mode, the example does not fit it, or the outputs
            of the mode differ by more than rounding.
        ModuleNotFoundError: if ``mode='onnx'`` and ONNX Runtime is not installed.
    """
    choose('mode', mode, ['auto', *MODES])
    if mode != 'auto':
        return _prepare(mode, model, example)
    found = prepare_all(model, example, EXACT)
    calls = {name: partial(one, example) for name, one in found.items()}
    seconds = {name: median(times) for name, times in time_in_turn(calls, ROUNDS, example.device.type).items()}
    return replace(found[min(seconds, key=seconds.__getitem__)], seconds=seconds)


def prepare_all(model: nn.Module, example: Tensor, modes: Sequence[str]) -> dict[str, Optimized]:
    """Prepare 'eager' and all other modes that work here, with a warning about each that does not."""
    found = {'eager': _prepare('eager', model, example)}
    for mode in (name for name in modes if name != 'eager'):
        try:
            found[mode] = _prepare(mode, model, example)
        except Exception as error:  # no compiler, no ONNX Runtime, an operator that one of them lacks
            warnings.warn(f'mode {mode!r} does not work here: {type(error).__name__}: {error}', stacklevel=3)
    return found


def time_in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int, device: str = 'cpu') -> dict[str, list[float]]:
    """Return the seconds of each call in each round; calls take turns, so that a drift of the machine affects all.

    A first round is not counted: a mode may compile again after another was prepared.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            seconds[name].append(timed(call, device)[0])
    return seconds


def _prepare(mode: str, model: nn.Module, example: Tensor) -> Optimized:
    if model.training:
        raise ValueError('the model is in training mode: call model.eval() first')
    expected = outputs(model, example)
    run = MODES[mode](model, example)
    found = outputs(run, example)
    difference = max(float((a - b).abs().max()) for a, b in zip(expected, found, strict=True))
    largest = max(float(a.abs().max()) for a in expected)
    if not difference <= (BF16_TOLERANCE if mode == 'bf16' else TOLERANCE) * max(1.0, largest):
        raise ValueError(
            f'mode={mode!r}: outputs up to {largest:.3g} differ by {difference:.1e}, which is more than rounding'
        )
    return Optimized(run, mode, tuple(example.shape), difference)


def _eager(model: nn.Module, example: Tensor) -> Run:
    return model


def _compile(model: nn.Module, example: Tensor) -> Run:
    return torch.compile(model, dynamic=False, options={'freezing': True})


def _onnx(model: nn.Module, example: Tensor) -> Run:
    if example.device.type != 'cpu':
        raise ValueError(f"mode='onnx' runs on the CPU, but the example is on {example.device}")
    with TemporaryDirectory() as folder:
        run = write_onnx(model, example, Path(folder) / 'model.onnx', None)
    with torch.no_grad():
        several = isinstance(model(example), tuple)
    return run if several else lambda x: run(x)[0]


def _bf16(model: nn.Module, example: Tensor) -> Run:
    def run(x: Tensor) -> Any:
        with torch.autocast(x.device.type, torch.bfloat16):
            found = model(x)
        return tuple(y.float() for y in found) if isinstance(found, tuple) else found.float()

    return run


MODES: dict[str, Callable[[nn.Module, Tensor], Run]] = {
    'eager': _eager,
    'compile': _compile,
    'onnx': _onnx,
    'bf16': _bf16,
}
EXACT = ('eager', 'compile', 'onnx')  # to rounding of float32
