"""Video Swin, UniFormer, ViViT and TimeSformer for MMAction2."""

from importlib import import_module
from typing import Any

from .compat import apply_repairs

__version__ = '0.1.0'

_LAZY = {  # imported with torch and the host when they are asked for
    'create_model': 'vidtx_mm.apis.models',
    'list_models': 'vidtx_mm.apis.zoo',
    'load_pretrained': 'vidtx_mm.weights',
    'optimize': 'vidtx_mm.apis.optimize',
}

apply_repairs()
del apply_repairs


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_LAZY]
