"""Children of MMEngine's root registries under the scope ``vidtx_mm``.

Types are written with their scope (``type='vidtx_mm.VideoSwin'``), so that MMAction2, MMDetection, MMPose and MMEngine
all find them. ``locations`` are imported on first lookup, not by ``import vidtx_mm``.
"""

from inspect import signature
from typing import Any

from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import METRICS as _METRICS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as _OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TRANSFORMS as _TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as _WEIGHT_INITIALIZERS
from mmengine.registry import Registry, build_model_from_cfg

SCOPE = 'vidtx_mm'


def build_model(cfg: Any, registry: Registry, *args: Any, **kwargs: Any) -> Any:
    """Build a model from its config.

    Raises:
        TypeError: for an unexpected keyword, with the valid ones.
    """
    try:
        return build_model_from_cfg(cfg, registry, *args, **kwargs)
    except TypeError as error:
        if 'unexpected keyword argument' not in str(error):
            raise
        raise TypeError(f'{error}; valid are {", ".join(signature(registry.get(cfg["type"])).parameters)}') from None


MODELS = Registry(
    'model',
    build_func=build_model,
    parent=_MODELS,
    scope=SCOPE,
    locations=['vidtx_mm.backbones', 'vidtx_mm.heads'],
)
DATASETS = Registry('dataset', parent=_DATASETS, scope=SCOPE, locations=['vidtx_mm.datasets'])
TRANSFORMS = Registry('transform', parent=_TRANSFORMS, scope=SCOPE, locations=['vidtx_mm.transforms'])
HOOKS = Registry('hook', parent=_HOOKS, scope=SCOPE, locations=['vidtx_mm.hooks', 'vidtx_mm.weights.hooks'])
METRICS = Registry('metric', parent=_METRICS, scope=SCOPE, locations=['vidtx_mm.heads'])
WEIGHT_INITIALIZERS = Registry(
    'weight initializer', parent=_WEIGHT_INITIALIZERS, scope=SCOPE, locations=['vidtx_mm.weights.initializers']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor', parent=_OPTIM_WRAPPER_CONSTRUCTORS, scope=SCOPE, locations=['vidtx_mm.optim']
)
