"""``dict(type='vidtx_mm.NonFiniteGuard')``: a run whose loss or gradients are not finite stops and says where."""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapperDict
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checks import Count
from ..registry import HOOKS

SCALER_PATIENCE = 20  # skipped steps in a row; the default loss scale of 65536 has then fallen below 1
PATH_KEYS = ('filename', 'img_path', 'frame_dir')


class NonFiniteError(FloatingPointError):
    """A loss, a gradient or a weight is not finite; the message says when, where and for which files."""


@HOOKS.register_module()
class NonFiniteGuard(Hook):
    """Stop a run before an optimizer step that would make its weights NaN.

    The error names the epoch, the step, the learning rate, the loss scale, the files of the batch and, from a second
    forward with the same random numbers, the first module whose output is not finite. The batch is saved in the work
    dir. A checkpoint with weights that are not finite is never written.

    Steps that a loss scaler (mixed precision in fp16) skips are logged; many in a row stop the run too. The running
    statistics of BatchNorm forget a step that is left out or skipped.

    Args:
        max_skips: number of steps without a loss scaler to leave out, with a warning, before the run stops.
    """

    priority = 'LOWEST'  # after whatever seeds the random numbers of a step

    def __init__(self, max_skips: Count = 0) -> None:
        self.max_skips = max_skips
        self.skipped = 0  # steps left out in all
        self.scaler_skips = 0  # steps that the scaler skipped, in a row

    def before_train(self, runner: Runner) -> None:
        for transform in _transforms(runner.train_dataloader.dataset):
            if 'filename' not in getattr(transform, 'meta_keys', ['filename']):
                transform.meta_keys = (*transform.meta_keys, 'filename')
        norms = [module for module in runner.model.modules() if isinstance(module, _BatchNorm)]
        statistics = [buffer for norm in norms for buffer in (norm.running_mean, norm.running_var)]
        self._statistics = [buffer for buffer in statistics if buffer is not None]
        self._before_step = [buffer.clone() for buffer in self._statistics]
        wrapper = runner.optim_wrapper
        for one in wrapper.values() if isinstance(wrapper, OptimWrapperDict) else [wrapper]:
            self._guard(runner, one)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self._batch, self._batch_idx, self._random = data_batch, batch_idx, _random_state()
        self._loss: Tensor | None = None
        if self._statistics:
            torch._foreach_copy_(self._before_step, self._statistics)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        states = [checkpoint.get(part, {}) for part in ('state_dict', 'ema_state_dict')]
        bad = [key for state in states for key, value in state.items() if not _finite(value)]
        if bad:
            raise NonFiniteError(
                f'Checkpoint of epoch {runner.epoch + 1}, step {runner.iter + 1} not written: {len(bad)} of its '
                f'tensors are not finite ({", ".join(bad[:3])}). Resume from an earlier checkpoint'
            )

    def _guard(self, runner: Runner, wrapper: Any) -> None:
        """Check the loss before ``backward`` and the gradients before ``step``."""
        disable = torch.compiler.disable  # a compiled train_step ends here: dynamo cannot trace all of it
        backward, step = wrapper.backward, wrapper.step
        scaler = getattr(wrapper, 'loss_scaler', None)
        if scaler is not None and scaler.is_enabled():
            wrapper.step = disable(lambda **kwargs: self._scaled_step(runner, wrapper, step, kwargs))
            return

        def guarded_backward(loss: Tensor, **kwargs: Any) -> None:
            if not _finite(loss):
                self._loss = loss.detach()
                if self.skipped >= self.max_skips:
                    self._stop(runner, wrapper, f'The loss is {float(loss)}')
            backward(loss, **kwargs)

        @wraps(step)  # schedulers look for their mark on it
        def guarded_step(**kwargs: Any) -> None:
            norm = _gradient_norm(wrapper.optimizer)
            if _finite(norm) and (self._loss is None or runner.distributed):
                step(**kwargs)
                return
            cause = f'The gradient norm is {float(norm)}' if self._loss is None else f'The loss is {float(self._loss)}'
            if self.skipped >= self.max_skips:
                self._stop(runner, wrapper, cause)
            self._forget()
            runner.logger.warning(
                f'{cause} at epoch {runner.epoch + 1}, step {runner.iter + 1}: step left out '
                f'({self.skipped} of {self.max_skips}); files: {_listed(self._batch)}'
            )

        wrapper.backward, wrapper.step = disable(guarded_backward), disable(guarded_step)

    def _scaled_step(self, runner: Runner, wrapper: Any, step: Any, kwargs: dict) -> None:
        scaler, taken = wrapper.loss_scaler, []
        before = scaler.get_scale()
        handle = wrapper.optimizer.register_step_post_hook(lambda *_: taken.append(True))
        step(**kwargs)
        handle.remove()
        if taken and scaler.get_scale() >= before:
            self.scaler_skips = 0
            return
        self._forget()
        self.scaler_skips += 1
        where = f'epoch {runner.epoch + 1}, step {runner.iter + 1}'
        runner.logger.warning(
            f'Loss scaler: step skipped at {where} (loss scale {before:g}; {self.skipped} so far in this run)'
        )
        if self.scaler_skips >= SCALER_PATIENCE:
            cause = f'The loss scaler skipped {self.scaler_skips} steps in a row; the last'
            self._stop(runner, wrapper, cause)

    def _forget(self) -> None:
        """Count a step as not taken."""
        self.skipped += 1
        if self._statistics:
            torch._foreach_copy_(self._statistics, self._before_step)

    def _stop(self, runner: Runner, wrapper: Any, cause: str) -> None:
        path = Path(runner.work_dir) / f'nonfinite_batch{runner.rank}.pth'
        torch.save(_plain(self._batch), path)
        rate = max(group['lr'] for group in wrapper.optimizer.param_groups)
        scale = f'{wrapper.loss_scaler.get_scale():g}' if hasattr(wrapper, 'loss_scaler') else 'none'
        raise NonFiniteError(
            f'{cause} at epoch {runner.epoch + 1}, step {runner.iter + 1} ({self._batch_idx + 1} of this epoch), '
            f'before the optimizer step. Learning rate: {rate:g}. Loss scale: {scale}. First not finite: '
            f'{self._first_bad(runner, wrapper)}. Files: {_listed(self._batch)}. The batch is saved as {path}. '
            'Remedies, likeliest first: a lower rate or longer warm-up, optim_wrapper.clip_grad=dict(max_norm=1), bf16 '
            'instead of fp16, a look at the files; NonFiniteGuard(max_skips=...) leaves such steps out'
        )

    def _first_bad(self, runner: Runner, wrapper: Any) -> str:
        """Name the first parameter, input or module output that is not finite, by a second forward of the batch."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name, parameter in model.named_parameters():
            if not _finite(parameter):
                return f'the parameter {name}'
        found: list[str] = []

        def look(name: str, output: Any) -> None:
            if not found and not all(map(_finite, _tensors(output))):
                found.append(name)

        handles = [
            module.register_forward_hook(lambda _, __, output, name=name: look(f'the output of {name}', output))
            for name, module in model.named_modules()
            if name and not name.startswith('data_preprocessor')
        ]
        with torch.no_grad(), wrapper.optim_context(model), _replayed(model, self._random):
            data = model.data_preprocessor(copy.deepcopy(self._batch), True)
            look('the input, after the data preprocessor', data)
            look('the loss', model._run_forward(data, mode='loss'))
        for handle in handles:
            handle.remove()
        return found[0] if found else 'the gradients; outputs and loss of a second forward are finite'


def _finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or not value.is_floating_point() or bool(value.isfinite().all())


def _gradient_norm(optimizer: torch.optim.Optimizer) -> Tensor:
    gradients = [p.grad for group in optimizer.param_groups for p in group['params'] if p.grad is not None]
    return torch.stack(torch._foreach_norm(gradients)).norm() if gradients else torch.zeros(())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _plain(value: Any) -> Any:
    """Turn a batch into tensors and plain values, which ``torch.load`` reads without running code."""
    if isinstance(value, BaseDataElement):
        return _plain(value.to_dict())
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return value if isinstance(value, Tensor | str | int | float | None) else str(value)


def _listed(batch: Any) -> str:
    samples = batch.get('data_samples', []) if isinstance(batch, dict) else []
    known = [sample.metainfo for sample in _elements(samples)]
    names = [str(info[key]) for info in known for key in PATH_KEYS if key in info]
    return ', '.join(dict.fromkeys(names)) or 'not known to the data set'


def _elements(value: Any) -> Iterator[BaseDataElement]:
    if isinstance(value, BaseDataElement):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _elements(item)


def _transforms(dataset: Any) -> list[Any]:
    while not hasattr(dataset, 'pipeline') and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return getattr(getattr(dataset, 'pipeline', None), 'transforms', [])


def _random_state() -> tuple[Any, ...]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda


@contextmanager
def _replayed(model: nn.Module, state: tuple[Any, ...]) -> Iterator[None]:
    """Draw the random numbers of the step again; give them and the buffers back afterwards."""
    before, buffers = _random_state(), {name: value.clone() for name, value in model.named_buffers()}
    _set_random_state(state)
    try:
        yield
    finally:
        _set_random_state(before)
        for name, value in model.named_buffers():
            value.copy_(buffers[name])


def _set_random_state(state: tuple[Any, ...]) -> None:
    python, numpy, cpu, cuda = state
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(cpu)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda)
