"""The target 'configs': models, transforms and optimizers of configs with one argument of this package changed."""

import copy
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from harness import Case
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, WEIGHT_INITIALIZERS, DefaultScope

CONFIGS = sorted((Path(__file__).parents[2] / 'configs').glob('*.py'))
PIPELINES = ('train_pipeline', 'val_pipeline', 'test_pipeline')
PARTS = ('model', *PIPELINES, 'optim_wrapper')
VALUES: tuple[Any, ...] = (
    None, 0, -1, 3, 0.5, 1e9, float('nan'), True, '', 'text', [], [0], [-1, 2, 3], {}, ['a', 1], {'a': 1}
)  # fmt: skip


@cache
def _parts(path: Path) -> dict[str, Any]:
    cfg = Config.fromfile(path).to_dict()
    return {part: cfg[part] for part in PARTS if part in cfg}


def _build(parts: dict[str, Any]) -> None:
    parts = copy.deepcopy(parts)
    preprocessor = parts['model'].pop('data_preprocessor')
    with DefaultScope.overwrite_default_scope('mmaction'):
        with torch.device('meta'):
            model = MODELS.build(parts['model'])
        MODELS.build(preprocessor)
        for name in PIPELINES:
            Compose(parts.get(name, []))
        build_optim_wrapper(model, parts['optim_wrapper'])
        for module in model.modules():
            for init_cfg in _listed(getattr(module, 'init_cfg', None)):
                WEIGHT_INITIALIZERS.build(init_cfg)


def _listed(init_cfg: Any) -> list[Any]:
    return init_cfg if isinstance(init_cfg, list) else [init_cfg] if init_cfg else []


def prepare() -> None:
    """Import what building imports, so that a child imports nothing."""
    MMLogger.get_current_instance().setLevel('ERROR')
    for path in CONFIGS:
        _parts(path)
    _build(_parts(CONFIGS[0]))


def _arguments(node: Any, owned: bool = False) -> Iterator[tuple[dict, str]]:
    """Yield (dict, key) of all arguments of classes of this package."""
    if isinstance(node, dict):
        kind = str(node.get('type', ''))
        owned = kind.startswith('vidtx_mm.') or (owned and not kind)
        for key, value in node.items():
            if owned and key != 'type':
                yield node, key
            yield from _arguments(value, owned)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _arguments(value, owned)


def config(draw: random.Random, folder: Path) -> Case:
    """Change one argument of a config."""
    path = draw.choice(CONFIGS)
    parts = copy.deepcopy(_parts(path))
    node, key = draw.choice(list(_arguments(parts)))
    how = draw.choice(['value', 'value', 'value', 'value', 'unknown', 'missing'])
    mutation = f'{node.get("type", "dict")}.{key}'
    if how == 'value':
        node[key] = draw.choice(VALUES)
        mutation += f'={node[key]!r}'
    else:
        old = node.pop(key)
        if how == 'unknown':
            node[f'{key}_'] = old

    def run() -> tuple[str, str]:
        try:
            _build(parts)
        except (ValueError, TypeError, KeyError) as error:
            return ('clear error' if key in str(error) else 'unclear error'), f'{path.name}: {error!r}'[:300]
        return ('ok' if how == 'missing' else 'silent'), path.name  # arguments that may be missing have defaults

    return Case(f'argument: {how}', mutation, run)
