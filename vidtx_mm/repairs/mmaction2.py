"""Repairs of mmaction2 1.2.0 and openmim."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from vidtx_mm.repairs.environment import installed, package_folder, placeholder, release


def lacks_drn() -> bool:
    root = package_folder('mmaction')
    return root is not None and not (root / 'models/localizers/drn/drn.py').exists()


@contextmanager
def add_drn_placeholder(module: ModuleType) -> Iterator[None]:
    message = (
        'mmaction2 from PyPI lacks mmaction.models.localizers.drn (open-mmlab/mmaction2#2714); '
        'to use DRN, install mmaction2 from source'
    )
    from mmaction.registry import MODELS

    drn = placeholder('DRN', message)
    MODELS.register_module(module=drn, force=True)
    package, inner = ModuleType('mmaction.models.localizers.drn'), ModuleType('mmaction.models.localizers.drn.drn')
    package.__path__ = []
    inner.DRN = drn  # type: ignore[attr-defined]
    sys.modules.update({package.__name__: package, inner.__name__: inner})
    yield


_TRANSFORMERS_NAMES = ('apply_chunking_to_forward', 'find_pruneable_heads_and_indices', 'prune_linear_layer')


def multimodal_fails() -> bool:
    root = package_folder('transformers')
    if root is None or not installed('mmaction'):
        return False
    source = (root / 'modeling_utils.py').read_text(encoding='utf-8')
    return not installed('timm') or not all(name in source for name in _TRANSFORMERS_NAMES)


@contextmanager
def disable_multimodal(module: ModuleType) -> Iterator[None]:
    yield

    def register_placeholders(names: Sequence[str], registry: Any) -> None:
        for name in names:
            message = f'{name} needs timm and transformers < 4.56: pip install timm "transformers<4.56"'
            registry.register_module(name=name, module=placeholder(name, message))

    module.WITH_MULTIMODAL = False  # type: ignore[attr-defined]
    module.register_multimodal_placeholder = register_placeholders  # type: ignore[attr-defined]


_NUMPY1_NAMES = {'Inf': 'inf', 'trapz': 'trapezoid', 'in1d': 'isin'}


class _Numpy(ModuleType):
    """Proxy of numpy with the numpy 1 names that MMAction2 uses; numpy itself is not modified."""

    def __getattr__(self, name: str) -> Any:
        import numpy

        return getattr(numpy, _NUMPY1_NAMES.get(name, name))


def uses_removed_numpy_names() -> bool:
    return installed('mmaction') and release('numpy') >= (2, 0)


@contextmanager
def add_numpy1_names(module: ModuleType) -> Iterator[None]:
    yield
    module.np = _Numpy('numpy')  # type: ignore[attr-defined]


def lacks_importlib_metadata() -> bool:
    return installed('mmaction') and not installed('importlib_metadata')


def lacks_pkg_resources() -> bool:
    return (installed('mim') or installed('mmengine')) and not installed('pkg_resources')


def lacks_moviepy_editor() -> bool:
    root = package_folder('moviepy') if installed('mmaction') else None
    return root is not None and not (root / 'editor.py').exists()
