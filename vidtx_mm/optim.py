"""Optimizer groups of the video transformers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from vidtx_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@dataclass(frozen=True)
class Entry:
    """A parameter with what the rules ask about it."""

    name: str
    param: nn.Parameter
    module: nn.Module
    is_embedding: bool


KINDS: dict[str, Callable[[Entry], bool]] = {
    'norm': lambda e: isinstance(e.module, (_NormBase, nn.LayerNorm, nn.GroupNorm)),
    'embed': lambda e: e.is_embedding,
    'bias': lambda e: e.name.endswith('bias'),
    'flat': lambda e: e.param.ndim <= 1,
}
"""In this order: a parameter takes the decay of the first kind that it belongs to and that has a multiplier."""

DEFAULTS: dict[str, float | None] = {
    'backbone_lr_mult': 1.0,
    'layer_decay': None,
    **{f'{kind}_decay_mult': None for kind in KINDS},
}


@dataclass
class Group:
    """Parameters of one rate and one decay; its name says which."""

    params: list[nn.Parameter] = field(default_factory=list)
    parts: dict[str, None] = field(default_factory=dict)
    kinds: dict[str, None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f'{" + ".join(self.parts)}: {", ".join(self.kinds)}'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TransformerOptimConstructor(DefaultOptimWrapperConstructor):
    """Few parameter groups, and every rule of ``paramwise_cfg`` holds for all parameters that it names.

    MMEngine's ``custom_keys`` apply the longest matching key alone, so that 'backbone' switches the rule for 'norm' off
    inside the backbone; MMAction2's ``SwinOptimWrapperConstructor`` makes a group and two log lines of every tensor.

    Keys of ``paramwise_cfg``, all optional:

    - ``backbone_lr_mult``: rate of the backbone relative to the rest.
    - ``layer_decay``: the rate falls by this factor with each step from the backbone's end to its beginning
      (``backbone.layer_depth``).
    - ``norm_decay_mult``: weight decay of normalization layers, weights and biases.
    - ``embed_decay_mult``: of embeddings and bias tables, that is of ``backbone.no_weight_decay()``.
    - ``bias_decay_mult``: of biases.
    - ``flat_decay_mult``: of parameters with one axis, such as layer scales.

    A decay multiplier that is absent or ``None`` makes no rule. A parameter takes the first rule of this list that
    names it, else full decay. Frozen parameters are left out. The groups are logged as one table.

    Raises ``ValueError`` for unknown keys, for names in ``no_weight_decay()`` that the backbone does not have, and for
    rules about a backbone that the model has not.
    """

    paramwise_cfg: dict[str, Any]

    def _validate_cfg(self) -> None:
        if not isinstance(self.paramwise_cfg, dict):
            raise TypeError(f'paramwise_cfg must be a dict, got {self.paramwise_cfg!r}')
        unknown = set(self.paramwise_cfg) - set(DEFAULTS)
        if unknown:
            raise ValueError(
                f'TransformerOptimConstructor: unknown paramwise_cfg keys {", ".join(sorted(unknown))}; '
                f'valid are {", ".join(DEFAULTS)}'
            )
        self.paramwise_cfg = {**DEFAULTS, **self.paramwise_cfg}
        for key in ('lr', 'weight_decay'):
            if self.optimizer_cfg.get(key) is None:
                raise ValueError(f'TransformerOptimConstructor multiplies {key}: give optimizer a value for {key}')

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: Any = None) -> None:
        """Append the groups of the whole model to ``params``, highest rate first (the one that MMEngine logs)."""
        groups: dict[tuple[float, float], Group] = {}
        for entry in self._entries(module):
            part, lr_mult = self._rate(module, entry.name)
            kinds = [kind for kind, belongs in KINDS.items() if belongs(entry)]
            group = groups.setdefault((lr_mult, self._decay(kinds)), Group())
            group.params.append(entry.param)
            group.parts[part] = group.kinds[(kinds or ['weight'])[0]] = None
        _check_complete(module, groups)
        for lr_mult, decay_mult in sorted(groups, reverse=True):
            group = groups[lr_mult, decay_mult]
            rates = dict(lr=self.base_lr * lr_mult, weight_decay=self.base_wd * decay_mult)
            params.append(dict(params=group.params, name=group.name, **rates))
        print_log(_table(params, module), logger='current')

    def _entries(self, model: nn.Module) -> Iterator[Entry]:
        embeddings = self._embeddings(model)
        seen: set[int] = set()
        for prefix, module in model.named_modules():
            for leaf, param in module.named_parameters(prefix, recurse=False):
                if param.requires_grad and id(param) not in seen:
                    seen.add(id(param))
                    yield Entry(leaf, param, module, leaf in embeddings)

    def _embeddings(self, model: nn.Module) -> set[str]:
        if self.paramwise_cfg['embed_decay_mult'] is None:
            return set()
        backbone = self._backbone_with(model, 'no_weight_decay', 'embed_decay_mult')
        names = backbone.no_weight_decay()
        missing = names - {name for name, _ in backbone.named_parameters()}
        if missing:
            raise ValueError(
                f'{type(backbone).__name__}.no_weight_decay() names {", ".join(sorted(missing))}, which are no '
                'parameters of it'
            )
        return {f'backbone.{name}' for name in names}

    def _rate(self, model: nn.Module, name: str) -> tuple[str, float]:
        """The part of the model that a parameter belongs to, for the group's name, and the multiplier of its rate."""
        part, _, rest = name.partition('.')
        if part != 'backbone':
            return part, 1.0
        mult, layer_decay = self.paramwise_cfg['backbone_lr_mult'], self.paramwise_cfg['layer_decay']
        if layer_decay is None:
            return part, mult
        depth, depths = self._backbone_with(model, 'layer_depth', 'layer_decay').layer_depth(rest)
        return f'backbone depth {depth}', mult * layer_decay ** (depths - 1 - depth)

    def _decay(self, kinds: list[str]) -> float:
        mults = (self.paramwise_cfg[f'{kind}_decay_mult'] for kind in kinds)
        return next((mult for mult in mults if mult is not None), 1.0)

    @staticmethod
    def _backbone_with(model: nn.Module, method: str, key: str) -> Any:
        backbone = getattr(model, 'backbone', None)
        if not hasattr(backbone, method):
            raise ValueError(
                f'paramwise_cfg: {key} asks backbone.{method}(), which {type(backbone).__name__} lacks; leave {key} out'
            )
        return backbone


def _check_complete(model: nn.Module, groups: dict[tuple[float, float], Group]) -> None:
    grouped = [id(param) for group in groups.values() for param in group.params]
    wanted = {id(param) for param in model.parameters() if param.requires_grad}
    if len(grouped) != len(wanted) or set(grouped) != wanted:
        raise RuntimeError(f'{len(grouped)} parameters in the groups, {len(wanted)} in the model')


def _table(params: list[dict], model: nn.Module) -> str:
    rows = [('group', 'lr', 'decay', 'tensors', 'parameters')]
    for group in params:
        size = sum(param.numel() for param in group['params'])
        rates = f'{group["lr"]:.3g}', f'{group["weight_decay"]:.3g}'
        rows.append((group['name'], *rates, str(len(group['params'])), f'{size:,}'))
    frozen = [param.numel() for param in model.parameters() if not param.requires_grad]
    if frozen:
        rows.append(('frozen', '', '', str(len(frozen)), f'{sum(frozen):,}'))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        '  '.join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
    return '\n'.join(('Optimizer groups', *lines))
