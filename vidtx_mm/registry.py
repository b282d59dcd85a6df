"""Children of MMEngine's root registries under the scope ``vidtx_mm``.

Types are written with their scope (``type='vidtx_mm.VideoSwin'``), so that MMAction2, MMDetection, MMPose and MMEngine
all find them. ``locations`` are imported on first lookup, not by ``import vidtx_mm``.
"""

from typing import Any

from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import METRICS as _METRICS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as _OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import TRANSFORMS as _TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as _WEIGHT_INITIALIZERS
from mmengine.registry import Registry as _Registry

from .checks import checked

SCOPE = 'vidtx_mm'


class Registry(_Registry):
    """A registry whose classes check the arguments of their constructors."""

    def _register_module(self, module: Any, *args: Any, **kwargs: Any) -> None:
        if '__init__' in vars(module):
            module.__init__ = checked(module.__init__)
        super()._register_module(module, *args, **kwargs)


MODELS = Registry(
    'model',
    parent=_MODELS,
    scope=SCOPE,
    locations=['vidtx_mm.backbones', 'vidtx_mm.heads', 'vidtx_mm.recognizer'],
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
