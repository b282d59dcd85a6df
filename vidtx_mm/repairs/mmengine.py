"""Repairs of mmengine: loading of its own checkpoints, distributed training on the CPU, and its logged losses."""

import codecs
import functools
import importlib
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from vidtx_mm.repairs.environment import installed, package_folder, release


def reads_checkpoints() -> bool:
    return installed('mmengine')


_OneCycle = type('OneCycleParamScheduler', (), {'__module__': 'mmengine.optim.scheduler.param_scheduler'})


def _method(owner: Any, name: str) -> Any:
    """Stand-in for ``getattr`` in a checkpoint: return only the functions that MMEngine itself saves.

    A HistoryBuffer holds ``HistoryBuffer.mean`` and similar methods, the state of a OneCycleLR its annealing function.
    Pickle saves them as ``getattr(HistoryBuffer, 'mean')``. The real ``getattr`` among the safe globals would let a
    checkpoint run any code.
    """
    from mmengine.logging import HistoryBuffer
    from mmengine.optim import OneCycleParamScheduler

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    if owner is _OneCycle and name in ('_annealing_cos', '_annealing_linear'):
        return getattr(OneCycleParamScheduler, name)
    raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint: it could run code')


def _called(path: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that torch finds under the name by which checkpoints call it."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, _, stand_in.__name__ = path.rpartition('.')
    stand_in.__qualname__ = stand_in.__name__
    return stand_in


@contextmanager
def allow_checkpoint_globals(module: ModuleType) -> Iterator[None]:
    yield
    import numpy as np
    import torch

    numpy_core = importlib.import_module('numpy._core' if release('numpy') >= (2, 0) else 'numpy.core')
    codes = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
    rebuild = [
        _called(f'{written_as}.multiarray.{name}', getattr(numpy_core.multiarray, name))
        for name in ('_reconstruct', 'scalar')
        for written_as in ('numpy.core', 'numpy._core')
    ]
    torch.serialization.add_safe_globals(
        [
            module.HistoryBuffer,
            _OneCycle,
            _called('builtins.getattr', _method),
            _called('_codecs.encode', codecs.encode),  # of bytes; torch 2.6 and newer allow it themselves
            np.ndarray,
            np.dtype,
            *{type(np.dtype(code)) for code in codes},
            *rebuild,
        ]
    )


class _WeightsOnly(ModuleType):
    """Proxy of torch with the default of ``torch.load`` from torch 2.6 on; torch itself is not modified."""

    def __getattr__(self, name: str) -> Any:
        import torch

        return functools.partial(torch.load, weights_only=True) if name == 'load' else getattr(torch, name)


@contextmanager
def load_weights_only(module: ModuleType) -> Iterator[None]:
    yield
    module.torch = _WeightsOnly('torch')  # type: ignore[attr-defined]
    module.load_url = functools.partial(module.load_url, weights_only=True)  # type: ignore[attr-defined]


def lacks_cuda() -> bool:
    if not installed('torch'):
        return False
    import torch

    return not torch.cuda.is_available()


@contextmanager
def init_dist_without_cuda(module: ModuleType) -> Iterator[None]:
    yield
    from mmengine.device import get_device

    original = module._init_dist_pytorch

    @functools.wraps(original)
    def init_dist(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
        if get_device() != 'cpu' or init_backend != 'torch':
            return original(backend, init_backend=init_backend, **kwargs)
        if backend == 'nccl':
            raise RuntimeError(
                "env_cfg.dist_cfg.backend='nccl' needs a CUDA device, but torch finds none: "
                'add --cfg-options env_cfg.dist_cfg.backend=gloo'
            )
        module.torch_dist.init_process_group(backend=backend, **kwargs)

    module._init_dist_pytorch = init_dist  # type: ignore[attr-defined]


@contextmanager
def drop_device_ids(module: ModuleType) -> Iterator[None]:
    yield
    wrapper = module.MMDistributedDataParallel
    original = wrapper.__init__

    @functools.wraps(original)
    def __init__(self: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
            kwargs.pop('device_ids', None)
        original(self, module, *args, **kwargs)

    wrapper.__init__ = __init__


def logs_first_process_alone() -> bool:
    root = package_folder('mmengine')
    return root is not None and 'mmengine.dist' not in (root / 'runner/log_processor.py').read_text(encoding='utf-8')


@contextmanager
def average_logged_losses(module: ModuleType) -> Iterator[None]:
    yield
    processor = module.LogProcessor
    original = processor.get_log_after_iter

    @functools.wraps(original)
    def get_log_after_iter(self: Any, runner: Any, batch_idx: int, mode: str) -> tuple[dict, str]:
        if mode == 'train':
            _average_over_processes(runner.message_hub.log_scalars, self.window_size)
        return original(self, runner, batch_idx, mode)

    processor.get_log_after_iter = get_log_after_iter


def _average_over_processes(scalars: Any, steps: int) -> None:
    """Replace the losses and accuracies of the last steps by their averages over the processes."""
    from mmengine.dist import all_gather_object

    names = [name for name in scalars if re.search('loss|acc', name) and name.startswith('train/')]
    histories = {name: scalars[name].data[0][-steps:] for name in names}
    everywhere = all_gather_object(histories)
    for name, history in histories.items():
        history[:] = sum(one[name] for one in everywhere) / len(everywhere)
