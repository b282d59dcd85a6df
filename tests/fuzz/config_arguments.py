"""The target 'configs': the objects of configs, built with one argument of a class of this package changed."""

import copy
import random
from collections.abc import Iterator
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from harness import Case
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, WEIGHT_INITIALIZERS, DefaultScope

from vidtx_mm.optim import DEFAULTS

CONFIGS = sorted((Path(__file__).parents[2] / 'configs').glob('*.py'))
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
PARTS = ('model', *LOADERS, 'optim_wrapper', 'val_evaluator', 'test_evaluator', 'default_hooks', 'custom_hooks')
REGISTRIES = (MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, WEIGHT_INITIALIZERS)
VALUES: tuple[Any, ...] = (
    None, 0, -1, 3, 0.5, 1e9, float('nan'), True, '', 'text', [], [0], [-1, 2, 3], {}, ['a', 1], {'a': 1}
)  # fmt: skip


@cache
def _parts(path: Path) -> dict[str, Any]:
    cfg = Config.fromfile(path).to_dict()
    return {part: cfg[part] for part in PARTS if part in cfg}


def _build(parts: dict[str, Any]) -> None:
    parts = copy.deepcopy(parts)
    preprocessor = parts['model'].get('data_preprocessor')
    with DefaultScope.overwrite_default_scope('mmaction'):
        if isinstance(preprocessor, dict) and 'type' in preprocessor:  # it cannot be built on the meta device
            MODELS.build(parts['model'].pop('data_preprocessor'))
        with torch.device('meta'):
            model = MODELS.build(parts['model'])
        for name in LOADERS:
            DATASETS.build(dict(parts[name]['dataset'], lazy_init=True))
        for metric in (parts['val_evaluator'], parts['test_evaluator']):
            METRICS.build(metric)
        for hook in (parts['default_hooks']['checkpoint'], *parts['custom_hooks']):
            HOOKS.build(hook)
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


def _parameters(kind: str) -> list[str]:
    """Return the arguments of a registered class."""
    built = next((cls for registry in REGISTRIES if (cls := registry.get(kind))), dict)
    parameters = signature(built).parameters.values()
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _arguments(node: Any, owner: str = '') -> Iterator[tuple[str, dict, str]]:
    """Yield (class, dict, key) of all arguments of classes of this package, given or not."""
    if isinstance(node, dict):
        kind = str(node.get('type', ''))
        if kind:
            owner = kind if kind.startswith('vidtx_mm.') else ''
        if owner:
            given = [key for key in node if key not in ('type', '_scope_')]
            for key in dict.fromkeys([*given, *(_parameters(kind) if kind else ())]):
                yield owner, node, key
        for value in node.values():
            yield from _arguments(value, owner)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _arguments(value, owner)


def _optim_arguments(optim_wrapper: dict[str, Any]) -> Iterator[tuple[str, dict, str]]:
    """Yield what the optimizer constructor of this package reads, in the same form."""
    constructor, optimizer = optim_wrapper['constructor'], optim_wrapper['optimizer']
    yield from ((constructor, optimizer, key) for key in ('lr', 'weight_decay'))
    yield from ((constructor, optim_wrapper['paramwise_cfg'], key) for key in DEFAULTS)


def config(draw: random.Random, folder: Path) -> Case:
    """Change one argument of a config."""
    path = draw.choice(CONFIGS)
    parts = copy.deepcopy(_parts(path))
    how = draw.choice(['value', 'value', 'value', 'value', 'unknown', 'missing'])
    arguments = [*_arguments(parts), *_optim_arguments(parts['optim_wrapper'])]
    owner, node, key = draw.choice([found for found in arguments if how == 'value' or found[2] in found[1]])
    owner = owner.removeprefix('vidtx_mm.')
    mutation = f'{owner}.{key}'
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
            named = owner in str(error) and key in str(error)
            return ('clear error' if named else 'unclear error'), f'{path.name}: {error!r}'[:300]
        return ('ok' if how == 'missing' else 'silent'), path.name  # arguments that may be missing have defaults

    return Case(f'argument: {how}', mutation, run)
