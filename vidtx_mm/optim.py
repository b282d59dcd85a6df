"""Parameter groups for video transformers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from vidtx_mm.checks import Fraction, Rule, check
from vidtx_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@dataclass(frozen=True)
class NamedParam:
    """A parameter, and the properties that the rules of ``KINDS`` depend on."""

    name: str
    param: nn.Parameter
    module: nn.Module
    is_embedding: bool


KINDS: dict[str, Callable[[NamedParam], bool]] = {
    'norm': lambda p: isinstance(p.module, (_NormBase, nn.LayerNorm, nn.GroupNorm)),
    'embed': lambda p: p.is_embedding,
    'bias': lambda p: p.name.endswith('bias'),
    'flat': lambda p: p.param.ndim <= 1,
}
"""In order of precedence: a parameter takes the first decay multiplier that is set for one of its kinds."""

Multiplier = Annotated[float, Rule('a number from 0 to 100', lambda x: 0 <= x <= 100)]
DEFAULTS: dict[str, float | None] = {
    'backbone_lr_mult': 1.0,
    'layer_decay': None,
    **{f'{kind}_decay_mult': None for kind in KINDS},
}


@dataclass
class Group:
    """Parameters that share learning rate and weight decay, named by the parts of the model and the kinds in it."""

    params: list[nn.Parameter] = field(default_factory=list)
    parts: dict[str, None] = field(default_factory=dict)
    kinds: dict[str, None] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f'{" + ".join(self.parts)}: {", ".join(self.kinds)}'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TransformerOptimConstructor(DefaultOptimWrapperConstructor):
    """Build few parameter groups, in which the rules of ``paramwise_cfg`` combine.

    MMEngine's ``custom_keys`` apply the longest matching key alone, so that 'backbone' disables a rule for 'norm'
    inside the backbone. MMAction2's ``SwinOptimWrapperConstructor`` makes a group and two log lines of each tensor.

    Keys of ``paramwise_cfg``, all optional:

    - ``backbone_lr_mult``: multiplier of the backbone's learning rate.
    - ``layer_decay``: factor of the learning rate per layer, from the last to the first (``backbone.layer_depth``).
    - ``norm_decay_mult``: multiplier of weight decay for weights and biases of normalization layers.
    - ``embed_decay_mult``: the same for embeddings and bias tables (``backbone.no_weight_decay()``).
    - ``bias_decay_mult``: the same for biases.
    - ``flat_decay_mult``: the same for parameters with one axis, such as layer scales.

    A parameter takes the first decay multiplier of this list that is set and applies to it, else 1. Frozen parameters
    are left out. The groups are logged as one table.

    Raises ``ValueError`` for unknown keys and values, for names in ``no_weight_decay()`` that the backbone
    does not have, and for backbone rules of a model without such a backbone.
    """

    paramwise_cfg: dict[str, Any]

    def _validate_cfg(self) -> None:
        check('TransformerOptimConstructor: paramwise_cfg', self.paramwise_cfg, dict)
        unknown = set(self.paramwise_cfg) - set(DEFAULTS)
        if unknown:
            raise ValueError(
                f'TransformerOptimConstructor: unknown paramwise_cfg keys {", ".join(sorted(unknown))}; '
                f'valid keys: {", ".join(DEFAULTS)}'
            )
        self.paramwise_cfg = {**DEFAULTS, **self.paramwise_cfg}
        for key, value in self.paramwise_cfg.items():
            hint: Any = Fraction if key == 'layer_decay' else Multiplier
            check(f'TransformerOptimConstructor: {key}', value, hint if DEFAULTS[key] else hint | None)
        for key in ('lr', 'weight_decay'):
            check(f'TransformerOptimConstructor: optimizer.{key}', self.optimizer_cfg.get(key), Multiplier)

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: Any = None) -> None:
        """Append the groups of the whole model to ``params``, highest learning rate first (MMEngine logs the first)."""
        groups: dict[tuple[float, float], Group] = {}
        for named in self._named_params(module):
            part, lr_mult = self._rate(module, named.name)
            kinds = [kind for kind, belongs in KINDS.items() if belongs(named)]
            group = groups.setdefault((lr_mult, self._decay(kinds)), Group())
            group.params.append(named.param)
            group.parts[part] = group.kinds[(kinds or ['weight'])[0]] = None
        _check_complete(module, groups)
        for lr_mult, decay_mult in sorted(groups, reverse=True):
            group = groups[lr_mult, decay_mult]
            rates = dict(lr=self.base_lr * lr_mult, weight_decay=self.base_wd * decay_mult)
            params.append(dict(params=group.params, name=group.name, **rates))
        print_log(_table(params, module), logger='current')

    def _named_params(self, model: nn.Module) -> Iterator[NamedParam]:
        embeddings = self._embeddings(model)
        seen: set[int] = set()
        for prefix, module in model.named_modules():
            for leaf, param in module.named_parameters(prefix, recurse=False):
                if param.requires_grad and id(param) not in seen:
                    seen.add(id(param))
                    yield NamedParam(leaf, param, module, leaf in embeddings)

    def _embeddings(self, model: nn.Module) -> set[str]:
        if self.paramwise_cfg['embed_decay_mult'] is None:
            return set()
        backbone = self._backbone_with(model, 'no_weight_decay', 'embed_decay_mult')
        names = backbone.no_weight_decay()
        missing = names - {name for name, _ in backbone.named_parameters()}
        if missing:
            raise ValueError(
                f'{type(backbone).__name__}.no_weight_decay() names unknown parameters {", ".join(sorted(missing))}'
            )
        return {f'backbone.{name}' for name in names}

    def _rate(self, model: nn.Module, name: str) -> tuple[str, float]:
        """Return the part of the model that a parameter belongs to, and the multiplier of its learning rate."""
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
                f'paramwise_cfg: {key} needs backbone.{method}(), which {type(backbone).__name__} lacks; remove {key}'
            )
        return backbone


def _check_complete(model: nn.Module, groups: dict[tuple[float, float], Group]) -> None:
    grouped = [id(param) for group in groups.values() for param in group.params]
    wanted = {id(param) for param in model.parameters() if param.requires_grad}
    if len(grouped) != len(wanted) or set(grouped) != wanted:
        raise RuntimeError(f'the groups hold {len(grouped)} parameters, the model {len(wanted)}')


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
    return '\n'.join(('Parameter groups', *lines))
