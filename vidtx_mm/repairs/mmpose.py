"""Repair of mmpose 1.3.2, whose visualizer imports torchvision for one optional picture."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from vidtx_mm.repairs.environment import installed
from vidtx_mm.repairs.stand_in import refusal


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
