"""A stand-in for torchvision, which mmpose 1.3.2 and mmpretrain 1.2.0 import and do not require."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vidtx_mm.repairs.environment import installed, placeholder

NAMES = (
    'torchvision',
    'torchvision.ops',
    'torchvision.ops.boxes',
    'torchvision.transforms',
    'torchvision.transforms.functional',
    'torchvision.transforms.transforms',
)


def mmpose_lacks_torchvision() -> bool:
    return installed('mmpose') and not _imports()


def mmpretrain_lacks_torchvision() -> bool:
    return installed('mmpretrain') and not _imports()


def _imports() -> bool:
    try:
        importlib.import_module('torchvision')
    except Exception:  # not installed, or built for another torch: 'operator torchvision::nms does not exist'
        return False
    return True


class _StandIn(ModuleType):
    """A module in which every name is a class whose construction raises ``ImportError``."""

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return placeholder(name, f'{name} needs torchvision: install the build that matches your torch')


@contextmanager
def add_torchvision(module: ModuleType) -> Iterator[None]:
    """Let ``module`` import torchvision; other modules do not see the stand-in."""
    modules = {name: _StandIn(name) for name in NAMES}
    for name, inner in modules.items():
        outer, _, last = name.rpartition('.')
        if outer:
            setattr(modules[outer], last, inner)
    before = {name: sys.modules.get(name) for name in NAMES}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, previous in before.items():
            if previous is None:
                del sys.modules[name]
            else:
                sys.modules[name] = previous
