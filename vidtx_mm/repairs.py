"""Detectors and repairs behind the table of ``vidtx_mm.compat``.

A detector answers whether this installation has the fault, without importing what the waiting module would not import.
A repair is a context manager around the execution of the module it waits for: code before ``yield`` prepares the
import, code after it edits the imported module.
"""

import functools
import importlib
import importlib.util
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any


def release(distribution: str) -> tuple[int, int]:
    """(major, minor) of an installed distribution, (0, 0) where it is absent."""
    try:
        major, minor = version(distribution).split('.')[:2]
    except PackageNotFoundError:
        return 0, 0
    return int(major), int(minor)


def installed(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def refusal(name: str, message: str) -> type:
    """A class whose construction raises: stands for a part that this installation cannot have."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ImportError(message)

    return type(name, (), {'__init__': __init__, '__doc__': message})


# mmaction2 without mmaction/models/localizers/drn --------------------------------------------------


def lacks_drn() -> bool:
    root = package_folder('mmaction')
    return root is not None and not (root / 'models/localizers/drn/drn.py').exists()


@contextmanager
def stand_in_drn(module: ModuleType) -> Iterator[None]:
    message = (
        'mmaction2 from the package registry lacks mmaction.models.localizers.drn (open-mmlab/mmaction2#2714): '
        'to use DRN, install mmaction2 from its source repository.'
    )
    from mmaction.registry import MODELS

    drn = refusal('DRN', message)
    MODELS.register_module(module=drn, force=True)
    package, inner = ModuleType('mmaction.models.localizers.drn'), ModuleType('mmaction.models.localizers.drn.drn')
    package.__path__ = []
    inner.DRN = drn  # type: ignore[attr-defined]
    sys.modules.update({package.__name__: package, inner.__name__: inner})
    yield


# transformers without the names that mmaction.models.multimodal imports ----------------------------

_TRANSFORMERS_NAMES = ('apply_chunking_to_forward', 'find_pruneable_heads_and_indices', 'prune_linear_layer')


def multimodal_fails() -> bool:
    root = package_folder('transformers')
    if root is None or not installed('mmaction'):
        return False
    source = (root / 'modeling_utils.py').read_text(encoding='utf-8')
    return not installed('timm') or not all(name in source for name in _TRANSFORMERS_NAMES)


@contextmanager
def without_multimodal(module: ModuleType) -> Iterator[None]:
    yield

    def register_placeholders(names: Sequence[str], registry: Any) -> None:
        for name in names:
            message = f'{name} of mmaction2 needs timm and transformers < 4.56: pip install timm "transformers<4.56"'
            registry.register_module(name=name, module=refusal(name, message))

    module.WITH_MULTIMODAL = False  # type: ignore[attr-defined]
    module.register_multimodal_placeholder = register_placeholders  # type: ignore[attr-defined]


# torch.load(weights_only=True) of MMEngine's own checkpoints ---------------------------------------


def _history_method(owner: Any, name: str) -> Any:
    """Stands for ``getattr`` in a checkpoint and yields nothing but the statistics that every HistoryBuffer carries.

    MMEngine pickles ``HistoryBuffer.mean`` and its like, which pickle writes as ``getattr(HistoryBuffer, 'mean')``; the
    real ``getattr`` on the list of safe globals would open the door to any code.
    """
    from mmengine.logging import HistoryBuffer

    if owner is HistoryBuffer and name in ('min', 'max', 'mean', 'current'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) in a checkpoint is refused: it could run code')


@contextmanager
def trust_checkpoint_globals(module: ModuleType) -> Iterator[None]:
    yield
    import numpy as np
    import torch

    home = 'numpy._core.multiarray' if release('numpy') >= (2, 0) else 'numpy.core.multiarray'
    numpy_core = importlib.import_module(home)
    codes = np.typecodes['AllInteger'] + np.typecodes['AllFloat'] + '?'
    rebuild = [
        (getattr(numpy_core, name), f'{written_as}.multiarray.{name}')
        for name in ('_reconstruct', 'scalar')
        for written_as in ('numpy.core', 'numpy._core')
    ]
    torch.serialization.add_safe_globals(
        [
            module.HistoryBuffer,
            (_history_method, 'builtins.getattr'),
            np.ndarray,
            np.dtype,
            *{type(np.dtype(code)) for code in codes},
            *rebuild,
        ]
    )


def loads_weights_only() -> bool:
    return release('torch') >= (2, 6) and installed('mmengine')


# DistributedDataParallel on the CPU ----------------------------------------------------------------


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
                "env_cfg.dist_cfg.backend='nccl' needs a CUDA device and torch sees none: "
                'add --cfg-options env_cfg.dist_cfg.backend=gloo'
            )
        module.torch_dist.init_process_group(backend=backend, **kwargs)

    module._init_dist_pytorch = init_dist  # type: ignore[attr-defined]


@contextmanager
def wrap_without_device_ids(module: ModuleType) -> Iterator[None]:
    yield
    wrapper = module.MMDistributedDataParallel
    original = wrapper.__init__

    @functools.wraps(original)
    def __init__(self: Any, module: Any, *args: Any, **kwargs: Any) -> None:
        if all(parameter.device.type == 'cpu' for parameter in module.parameters()):
            kwargs.pop('device_ids', None)
        original(self, module, *args, **kwargs)

    wrapper.__init__ = __init__


# mmpose.visualization without torchvision ----------------------------------------------------------


def lacks_torchvision() -> bool:
    if not installed('mmpose'):
        return False
    try:
        importlib.import_module('torchvision')
    except Exception:  # absent, or built for another torch: 'operator torchvision::nms does not exist'
        return True
    return False


@contextmanager
def stand_in_torchvision(module: ModuleType) -> Iterator[None]:
    package, transforms = ModuleType('torchvision'), ModuleType('torchvision.transforms')
    message = 'Drawing SimCC heatmaps needs torchvision: install the build that belongs to your torch'
    transforms.ToPILImage = refusal('ToPILImage', message)  # type: ignore[attr-defined]
    names = {'torchvision': package, 'torchvision.transforms': transforms}
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    try:
        yield
    finally:
        for name, previous in before.items():
            if previous is None:
                del sys.modules[name]
            else:
                sys.modules[name] = previous


# names that numpy 2 dropped ------------------------------------------------------------------------

_NUMPY1_NAMES = {'Inf': 'inf', 'trapz': 'trapezoid', 'in1d': 'isin'}


class _Numpy(ModuleType):
    """numpy with the numpy 1 names that MMAction2 uses; numpy itself stays as it is."""

    def __getattr__(self, name: str) -> Any:
        import numpy

        return getattr(numpy, _NUMPY1_NAMES.get(name, name))


def uses_removed_numpy_names() -> bool:
    return installed('mmaction') and release('numpy') >= (2, 0)


@contextmanager
def with_numpy1_names(module: ModuleType) -> Iterator[None]:
    yield
    module.np = _Numpy('numpy')  # type: ignore[attr-defined]


# what only the user can repair ---------------------------------------------------------------------


def lacks_importlib_metadata() -> bool:
    return installed('mmaction') and not installed('importlib_metadata')


def lacks_pkg_resources() -> bool:
    return installed('mim') and not installed('pkg_resources')
