"""``init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=..., ...)``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from mmengine.model import BaseModule, update_init_info
from torch import nn

from ..checks import Rule
from ..registry import WEIGHT_INITIALIZERS
from .load import Options, adapt, copy_into, unwrapped
from .runtime import publish, read

PathOrAddress = Annotated[str | Path, Rule('a path or a web address', lambda checkpoint: str(checkpoint) != '')]


@WEIGHT_INITIALIZERS.register_module()
class FromPretrained:
    """Initialize a backbone, or a model with a ``.backbone``, from a checkpoint of any known source.

    Modules whose parameters all come from the file are marked as initialized, because MMEngine runs the ``init_cfg`` of
    a module after that of its parent.

    Args:
        checkpoint: a path or a web address.
        options: further arguments of :func:`vidtx_mm.weights.load_pretrained`.
    """

    def __init__(self, checkpoint: PathOrAddress, **options: Any) -> None:
        self.checkpoint = str(checkpoint)
        self.options = Options.parse(options)

    def __call__(self, module: nn.Module) -> None:
        state_dict, report = adapt(read(self.checkpoint), module, self.options)
        copy_into(module, state_dict, report)
        publish(report)
        if hasattr(module, '_params_init_info'):
            update_init_info(module, f'{type(self).__name__}: {report.source} from {self.checkpoint}')
        for child in _loaded(unwrapped(module), set(state_dict)):
            child.is_init = True


def _loaded(module: nn.Module, keys: set[str]) -> Iterator[BaseModule]:
    """Yield the modules below ``module`` whose parameters are all among ``keys`` and that load nothing themselves."""
    for name, child in module.named_children():
        own = {f'{name}.{key}' for key, _ in child.named_parameters()}
        inner = {key[len(name) + 1 :] for key in keys if key.startswith(f'{name}.')}
        if isinstance(child, BaseModule) and own and own <= keys and not _has_pretrained(child):
            yield child
        else:
            yield from _loaded(child, inner)


def _has_pretrained(module: nn.Module) -> bool:
    cfgs = [cfg for child in module.modules() for cfg in _listed(getattr(child, 'init_cfg', None))]
    return any('Pretrained' in str(cfg.get('type')) for cfg in cfgs)


def _listed(init_cfg: Any) -> list[dict]:
    return init_cfg if isinstance(init_cfg, list) else [init_cfg] if init_cfg else []
