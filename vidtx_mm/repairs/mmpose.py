"""Repair of mmpose 1.3.2, whose visualizer imports torchvision for one optional drawing."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from vidtx_mm.repairs.environment import installed


def lacks_torchvision() -> bool:
    if not installed('mmpose'):
        return False
    try:
        importlib.import_module('torchvision')
    except Exception:  # not installed, or built for another torch: 'operator torchvision::nms does not exist'
        return True
    return False


@contextmanager
def add_torchvision_placeholder(module: ModuleType) -> Iterator[None]:
    def missing(*args: Any, **kwargs: Any) -> None:
        raise ImportError('Drawing SimCC heatmaps needs torchvision: install the build that matches your torch')

    package, transforms = ModuleType('torchvision'), ModuleType('torchvision.transforms')
    transforms.ToPILImage = missing  # type: ignore[attr-defined]
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
