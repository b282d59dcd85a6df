"""Bring the weights of a checkpoint to the shapes of a model, key by key, and collect all mismatches."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from .errors import CheckpointError, listed
from .sources.base import Borrow, Context, Convert, Family, KeepInit, Surplus, Weight
from .tensors import unusable

Row = TypeVar('Row', Convert, Borrow, KeepInit, Surplus)
COUNTER = 'num_batches_tracked'  # of BatchNorm: files from before torch 0.4.1 lack it, and no output depends on it


@dataclass
class Mismatches:
    """All differences between a checkpoint and a model."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    shapes: dict[str, str] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes or self.values)

    def __str__(self) -> str:
        lines = []
        if self.missing:
            lines.append(f'  in the model, not in the file ({len(self.missing)}): {listed(self.missing)}')
        if self.unexpected:
            lines.append(f'  in the file, not in the model ({len(self.unexpected)}): {listed(self.unexpected)}')
        for title, reasons in (('shape mismatch', self.shapes), ('unusable values', self.values)):
            if reasons:
                lines.append(f'  {title} ({len(reasons)}):')
                lines += [f'    {key}: {why}' for key, why in list(reasons.items())[:6]]
                lines += ['    ...'] * (len(reasons) > 6)
        return '\n'.join(lines)


class Fitted(NamedTuple):
    """One line of the report and, where the file gives it, the tensor for the model's ``key``.

    A dropped tensor is listed by its key in the file.
    """

    key: str
    action: str
    detail: str = ''
    tensor: Tensor | None = None


def sizes(tensor: Tensor, expected: Tensor) -> str:
    return f'{tuple(tensor.shape)} in the file, {tuple(expected.shape)} in the model'


def fit_backbone(
    expected: Mapping[str, Tensor], context: Context, family: Family, mismatches: Mismatches
) -> Iterator[Fitted]:
    """Fit the weights of ``context`` to the state dict ``expected`` of a backbone, by the rules of ``family``.

    Keys that video adds to an image model may be borrowed from others or stay at init.
    """
    used = set()
    for key, target in expected.items():
        name = _source_key(key, context, family)
        row = _first(family.keeps_init, key)
        if re.fullmatch(context.keep_init, key):
            yield Fitted(key, 'left at init', f'keep_init={context.keep_init!r}')
        elif name is not None:
            used.add(name)
            fitted = _fit(key, name, target, context, family, mismatches)
            if fitted is not None:
                yield fitted
        elif row is not None and (context.images or not row.images_only):
            yield Fitted(key, 'left at init', row.reason)
        elif key.endswith(COUNTER):
            yield Fitted(key, 'left at init', 'not in the file; no output depends on it')
        else:
            mismatches.missing.append(key)
    for name, weight in context.weights.items():
        if name in used or name in expected:
            continue
        surplus = _first(family.surplus, name)
        if re.fullmatch(context.keep_init, name):
            yield Fitted(weight.origin, 'dropped', f'keep_init={context.keep_init!r}')
        elif any(re.fullmatch(pattern, name) for pattern in family.derived):
            yield Fitted(weight.origin, 'dropped', 'computed by the model')
        elif surplus is not None and (context.images or not surplus.images_only):
            yield Fitted(weight.origin, 'dropped', surplus.reason)
        else:
            mismatches.unexpected.append(name)


def _fit(
    key: str, name: str, target: Tensor, context: Context, family: Family, mismatches: Mismatches
) -> Fitted | None:
    """Fit the weight ``name`` of the file to the model's ``key``."""
    weight = context.weights[name]
    tensor, (action, detail) = weight.tensor, weight.action(key)
    borrow = _first(family.borrows, key) if name != key else None
    if borrow is not None:
        action, detail = 'borrowed', f'from {name}: {borrow.reason}'
    if problem := unusable(tensor, target, context.allow_nonfinite):
        mismatches.values[key] = problem
        return None
    if tensor.shape != target.shape:
        convert = _first(family.converts, key)
        try:
            if convert is None or target.ndim - tensor.ndim not in (0, convert.adds_axis):
                raise CheckpointError(sizes(tensor, target))
            wide = torch.promote_types(tensor.dtype, torch.float32)  # half precision would round
            tensor, action, how = convert.rule(key, tensor.to(wide), target.shape, context)
        except CheckpointError as error:
            mismatches.shapes[key] = str(error)
            return None
        detail = f'{how}, {detail}' if borrow is not None else how
    return Fitted(key, action, detail, None if action == 'left at init' else tensor)


def _source_key(key: str, context: Context, family: Family) -> str | None:
    """Return the key of the weight that the model's ``key`` takes, if there is one."""
    borrow = _first(family.borrows, key) if context.images and key not in context.weights else None
    name = re.sub(borrow.pattern, borrow.source, key) if borrow else key
    return name if name in context.weights else None


def _first(rows: Sequence[Row], key: str) -> Row | None:
    return next((row for row in rows if re.fullmatch(row.pattern, key)), None)


def fit_head(
    expected: Mapping[str, Tensor],
    weights: Mapping[str, Weight],
    policy: str,
    discard: str,
    context: Context,
    family: Family,
    mismatches: Mismatches,
) -> Iterator[Fitted]:
    """Fit the weights of everything but the backbone; all tensors of a module are taken, or none.

    Args:
        expected: that part of the model's state dict.
        policy: 'auto' takes modules with as many outputs as the model's and leaves the others at init, 'keep' must fill
            all, 'drop' takes none.
        discard: the reason to drop the whole head of the file, or ''.
        family: knows the parts that the model may lack.
    """
    if policy == 'drop' or discard:
        why = discard or "head='drop'"
        yield from (Fitted(weight.origin, 'dropped', why) for weight in weights.values())
        yield from (Fitted(key, 'left at init', why) for key in expected)
        return
    modules: dict[str, list[str]] = {}
    for key, weight in weights.items():
        surplus = _first(family.surplus, key)
        if key in expected:
            modules.setdefault(key.rpartition('.')[0], []).append(key)
        elif surplus is not None:
            yield Fitted(weight.origin, 'dropped', surplus.reason)
        else:
            mismatches.unexpected.append(key)
    initial = set()  # modules left at init
    for module, keys in modules.items():
        pairs = {key: (weights[key].tensor, expected[key]) for key in keys}
        other = [key for key, (tensor, target) in pairs.items() if tensor.shape != target.shape]
        if other and policy == 'auto' and _other_outputs(list(pairs.values())):
            initial.add(module)
            for key, (tensor, target) in pairs.items():
                yield Fitted(key, 'left at init', f'{len(tensor)} outputs in the file, {len(target)} in the model')
        else:
            mismatches.shapes |= {key: sizes(*pairs[key]) for key in other}
            problems = {key: unusable(*pair, context.allow_nonfinite) for key, pair in pairs.items()}
            mismatches.values |= {key: problem for key, problem in problems.items() if problem}
            yield from (Fitted(key, *weights[key].action(key), weights[key].tensor) for key in keys)
    for key in [key for key in expected if key not in weights]:
        module = key.rpartition('.')[0]
        if (policy == 'keep' or module in modules.keys() - initial) and not key.endswith(COUNTER):
            mismatches.missing.append(key)
        else:
            yield Fitted(key, 'left at init', 'not in the file')


def _other_outputs(pairs: Sequence[tuple[Tensor, Tensor]]) -> bool:
    """Return whether the tensors of a module differ from the model's in one thing: the number of outputs."""
    alike = all(tensor.ndim == target.ndim > 0 and tensor.shape[1:] == target.shape[1:] for tensor, target in pairs)
    return alike and len({len(tensor) for tensor, _ in pairs}) == 1
