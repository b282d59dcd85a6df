"""Bring canonical tensors to the shapes that a model wants, key by key; whatever does not fit is collected."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from .errors import CheckpointError, listed
from .report import LoadReport
from .sources.base import Borrow, Convert, Family, Job, KeepInit, Surplus

Row = TypeVar('Row', Convert, Borrow, KeepInit, Surplus)
Shapes = Mapping[str, torch.Size]


@dataclass
class Misfits:
    """What stands between a checkpoint and a model."""

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.unfit)

    def __str__(self) -> str:
        lines = []
        if self.missing:
            lines.append(f'  in the model, not in the file ({len(self.missing)}): {listed(self.missing)}')
        if self.unexpected:
            lines.append(f'  in the file, not in the model ({len(self.unexpected)}): {listed(self.unexpected)}')
        if self.unfit:
            lines.append(f'  unlike in both ({len(self.unfit)}):')
            lines += [f'    {key}: {why}' for key, why in list(self.unfit.items())[:6]]
            lines += ['    ...'] * (len(self.unfit) > 6)
        return '\n'.join(lines)


def fit_backbone(wanted: Shapes, job: Job, family: Family, report: LoadReport, misfits: Misfits) -> dict[str, Tensor]:
    """The tensors of ``job`` for a backbone of the shapes ``wanted``, by the rules of ``family``.

    From an image model's checkpoint, what video adds may be borrowed or stay at init.

    Args:
        wanted: the backbone's state dict, as shapes.
    """
    fitted: dict[str, Tensor] = {}
    used = set()
    for key, shape in wanted.items():
        if re.fullmatch(job.keep_init, key):
            report.add(key, 'left at init', f'keep_init={job.keep_init!r}')
            continue
        name = _origin(key, job, family)
        if name is None:
            row = _first(family.keeps_init, key)
            if row is not None and (job.images or not row.images_only):
                report.add(key, 'left at init', row.reason)
            else:
                misfits.missing.append(key)
            continue
        used.add(name)
        tensor = job.tensors[name]
        borrow = _first(family.borrows, key) if name != key else None
        action, how = ('borrowed', f'from {name}: {borrow.reason}') if borrow else ('copied', '')
        if tensor.shape != shape:
            convert = _first(family.converts, key)
            try:
                if convert is None:
                    raise CheckpointError(f'{tuple(tensor.shape)} in the file, {tuple(shape)} in the model')
                wide = torch.promote_types(tensor.dtype, torch.float32)  # half precision would round
                converted = convert.rule(key, tensor.to(wide), shape, job)
            except CheckpointError as error:
                misfits.unfit[key] = str(error)
                continue
            tensor, action, how = converted.tensor, converted.action, ', '.join(filter(None, (converted.how, how)))
        if action != 'left at init':
            fitted[key] = tensor
        report.add(key, action, how)
    for name in job.tensors:
        if name in used or name in wanted:
            continue
        surplus = _first(family.surplus, name)
        if re.fullmatch(job.keep_init, name):
            report.add(name, 'dropped', f'keep_init={job.keep_init!r}')
        elif any(re.fullmatch(pattern, name) for pattern in family.derived):
            report.add(name, 'dropped', 'computed by the model')
        elif surplus is not None and (job.images or not surplus.images_only):
            report.add(name, 'dropped', surplus.reason)
        else:
            misfits.unexpected.append(name)
    return fitted


def _origin(key: str, job: Job, family: Family) -> str | None:
    """The key of the file that the model's ``key`` takes."""
    if key in job.tensors:
        return key
    borrow = _first(family.borrows, key) if job.images else None
    name = re.sub(borrow.pattern, borrow.source, key) if borrow else key
    return name if name in job.tensors else None


def _first(rows: Sequence[Row], key: str) -> Row | None:
    return next((row for row in rows if re.fullmatch(row.pattern, key)), None)


def fit_head(
    wanted: Shapes,
    tensors: Mapping[str, Tensor],
    policy: str,
    discard: str,
    family: Family,
    report: LoadReport,
    misfits: Misfits,
) -> dict[str, Tensor]:
    """The tensors for what a model has besides its backbone.

    Args:
        wanted: those parts of the model's state dict, as shapes.
        policy: 'auto' takes what has the model's shape and leaves the rest at init; 'keep' must fill all; 'drop' takes
            nothing.
        discard: why the file's head is not taken at all, or ''.
        family: says which parts the model may lack.
    """
    if policy == 'drop' or discard:
        why = discard or "head='drop'"
        for key in tensors:
            report.add(key, 'dropped', why)
        for key in wanted:
            report.add(key, 'left at init', why)
        return {}
    fitted: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        surplus = _first(family.surplus, key)
        if key not in wanted and surplus is not None:
            report.add(key, 'dropped', surplus.reason)
        elif key not in wanted:
            misfits.unexpected.append(key)
        elif tensor.shape == wanted[key]:
            fitted[key] = tensor
            report.add(key, 'copied')
        elif policy == 'keep' or tensor.shape[1:] != wanted[key][1:]:
            misfits.unfit[key] = f'{tuple(tensor.shape)} in the file, {tuple(wanted[key])} in the model'
        else:
            report.add(key, 'left at init', f'{len(tensor)} outputs in the file, {wanted[key][0]} in the model')
    loaded_modules = {key.rpartition('.')[0] for key in fitted}
    for key in wanted:
        if key in tensors:
            continue
        if policy == 'keep' or key.rpartition('.')[0] in loaded_modules:
            misfits.missing.append(key)
        else:
            report.add(key, 'left at init', 'not in the file')
    return fitted
