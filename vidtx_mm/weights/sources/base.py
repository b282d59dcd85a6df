"""Tables that describe a checkpoint format (:class:`Source`) and the rules of a backbone family (:class:`Family`)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CheckpointError, listed

OWN = 'own'  # the source of checkpoints that have the model's own keys
PREFIX = 'backbone.'  # of a backbone's keys in the state dict of a whole model


@dataclass(frozen=True)
class Rename:
    """One row of a key map: a key that matches ``pattern`` in full is renamed to ``target`` (``re.sub`` notation).

    Attributes:
        target: None drops the key, for ``reason``.
        transform: applied to the tensor, for example a transposition.
        part: (i, n): the tensor is piece i of n that are joined along the first axis (q, k, v into qkv).
    """

    pattern: str
    target: str | None = None
    reason: str = ''
    transform: Callable[[Tensor], Tensor] | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Format:
    """A checkpoint format that can be recognized.

    Attributes:
        title: who publishes it, in words.
        signature: key pattern -> number of axes of its tensor. A file has this format if every pattern matches one of
            its keys in full.
        absent: patterns that match no key of this format.
    """

    title: str
    signature: Mapping[str, int]
    absent: tuple[str, ...] = ()

    def recognizes(self, tensors: Mapping[str, Tensor]) -> bool:
        return all(
            any(tensor.ndim == ndim and re.fullmatch(pattern, key) for key, tensor in tensors.items())
            for pattern, ndim in self.signature.items()
        ) and not any(re.fullmatch(pattern, key) for pattern in self.absent for key in tensors)


@dataclass(frozen=True, kw_only=True)
class Unsupported(Format):
    """A format that cannot be loaded, recognized so that the error can say why: ``reason`` and remedy."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class Source(Format):
    """A format that can be loaded.

    Attributes:
        name: the value of ``source=``.
        families: the backbone families whose weights it holds.
        ndim: 2 for an image model, 3 for a video model.
        backbone: key map to the backbone's own keys. The first row that matches counts.
        head: key map of all other keys, to those of the whole model. A key that no row matches is an error.
        class_orders: number of classes -> name of the order (in ``labels.PERMUTATIONS``) of the classifier's rows.
        order_doubts: number of classes -> note on an unknown order, for the report.
        implied_args: returns, from the tensors of a file, the config arguments of the backbone that they imply but that
            keys and shapes do not show after renaming.
    """

    name: str
    families: tuple[str, ...]
    ndim: int
    backbone: tuple[Rename, ...]
    head: tuple[Rename, ...] = ()
    class_orders: Mapping[int, str] = field(default_factory=dict)
    order_doubts: Mapping[int, str] = field(default_factory=dict)
    implied_args: Callable[[Mapping[str, Tensor]], dict[str, Any]] | None = None


class Weight(NamedTuple):
    """A tensor and its origin: the key in the file, or the keys that were joined."""

    tensor: Tensor
    origin: str

    def action(self, key: str) -> tuple[str, str]:
        """Return the action and detail of a report that takes this tensor as it is for ``key``."""
        same = self.origin in (key, PREFIX + key)
        return ('copied', '') if same else ('renamed', f'from {self.origin}')


@dataclass
class Canonical:
    """A checkpoint under our keys.

    Attributes:
        backbone: by the backbone's own keys.
        head: by the keys of the whole model.
        dropped: key in the file -> reason.
    """

    backbone: dict[str, Weight] = field(default_factory=dict)
    head: dict[str, Weight] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def canonical(tensors: Mapping[str, Tensor], source: Source) -> Canonical:
    """Apply the key map of ``source``.

    Raises:
        CheckpointError: for keys that no row matches, two keys with one name, missing pieces of a joined tensor, and
            tensors of a shape that cannot be transformed or joined.
    """
    result, unknown = Canonical(), []
    rows = [(result.backbone, row) for row in source.backbone] + [(result.head, row) for row in source.head]
    pieces: dict[str, dict[int, Weight]] = {}
    joined: dict[str, tuple[dict[str, Weight], int]] = {}
    for key, tensor in tensors.items():
        part, row = next((item for item in rows if re.fullmatch(item[1].pattern, key)), (None, None))
        if part is None or row is None:
            unknown.append(key)
        elif row.target is None:
            result.dropped[key] = row.reason
        else:
            name, (index, count) = re.sub(row.pattern, row.target, key), row.part or (0, 1)
            if index in pieces.setdefault(name, {}):
                raise CheckpointError(
                    f'{key} and {pieces[name][index].origin} are both {name}: split the file, it has two models'
                )
            pieces[name][index] = Weight(_transformed(key, tensor, row, source), key)
            joined[name] = part, count
    if unknown:
        raise CheckpointError(
            f'unknown keys for {source.title}: {listed(unknown)}. Set another source=, or delete these keys from the '
            'checkpoint if they are not needed'
        )
    for name, (part, count) in joined.items():
        part[name] = _joined(name, [pieces[name][index] for index in sorted(pieces[name])], count)
    return result


def _transformed(key: str, tensor: Tensor, row: Rename, source: Source) -> Tensor:
    try:
        return tensor if row.transform is None else row.transform(tensor)
    except (RuntimeError, IndexError) as error:
        raise CheckpointError(
            f'{key} has the shape {tuple(tensor.shape)}, which is not one of {source.title}: export the file again'
        ) from error


def _joined(name: str, found: list[Weight], count: int) -> Weight:
    origin = ' + '.join(weight.origin for weight in found)
    if len(found) != count:
        raise CheckpointError(f'{name} is joined from {count} tensors, but the file has only {origin}')
    if count == 1:
        return found[0]
    forms = [f'{tuple(weight.tensor.shape)} {weight.tensor.dtype}' for weight in found]
    if len(set(forms)) > 1 or not found[0].tensor.ndim:
        raise CheckpointError(f'{origin} must have one shape and dtype to be joined, not {", ".join(forms)}')
    return Weight(torch.cat([weight.tensor for weight in found]), origin)


@dataclass(frozen=True)
class Context:
    """Inputs of a rule: the file's weights by the backbone's keys, the backbone, and the options of the load.

    Attributes:
        images: the checkpoint is of an image model, the backbone is for video.
        keep_init: pattern of backbone keys that stay at init.
        allow_nonfinite: accept NaN and infinite values.
    """

    weights: Mapping[str, Weight]
    backbone: Any
    inflate: str
    pos_interpolation: str
    images: bool
    keep_init: str
    allow_nonfinite: bool = False


class Converted(NamedTuple):
    """Result of a rule: the new tensor, the action, and the details in words.

    The action is 'inflated' or 'resized', or 'left at init' to ignore the tensor of the file.
    """

    tensor: Tensor
    action: str
    detail: str


# (key, tensor of the file, expected shape, context) -> Converted; raises CheckpointError where it does not apply.
Rule = Callable[[str, Tensor, torch.Size, Context], Converted]


@dataclass(frozen=True)
class Convert:
    """Convert tensors whose key matches ``pattern`` and whose shape is not the model's by ``rule``.

    Attributes:
        adds_axis: whether the rule also takes tensors with one axis less than the model's.
    """

    pattern: str
    rule: Rule
    adds_axis: bool = False


@dataclass(frozen=True)
class Borrow:
    """Fill a key that an image checkpoint lacks with the tensor of ``source`` (``re.sub`` notation)."""

    pattern: str
    source: str
    reason: str


@dataclass(frozen=True)
class KeepInit:
    """A key of the model that a checkpoint may lack; it stays at init."""

    pattern: str
    reason: str
    images_only: bool = True


@dataclass(frozen=True)
class Surplus:
    """A key of a checkpoint that the model may lack; it is dropped."""

    pattern: str
    reason: str
    images_only: bool = False


@dataclass(frozen=True)
class Family:
    """Rules that turn checkpoints into weights of one backbone class. Patterns match the backbone's own keys in full.

    Attributes:
        name: ``Backbone.family``.
        inflate: the kernel rule with which the published models were made.
        remarks: returns notes for the report, from (source, checkpoint, model, backbone).
        derived: buffers in files that the model computes itself. Rules may read them, nothing loads them.
        heads: module of a classifier in our keys -> its name in mmpretrain's models.
        advice: pattern of keys that only the file or only the model has -> the argument that decides on them.
    """

    name: str
    inflate: str
    derived: tuple[str, ...] = ()
    converts: tuple[Convert, ...] = ()
    borrows: tuple[Borrow, ...] = ()
    keeps_init: tuple[KeepInit, ...] = ()
    surplus: tuple[Surplus, ...] = ()
    remarks: Callable[[Source, Canonical, Any, Any], list[str]] | None = None
    heads: Mapping[str, str] = field(default_factory=dict)
    advice: Mapping[str, str] = field(default_factory=dict)
