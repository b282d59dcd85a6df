"""The vocabulary of the tables: how a source's keys become ours, and how its tensors become a family's."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import CheckpointError, listed

OWN = 'own'  # the source of checkpoints with the model's own keys


@dataclass(frozen=True)
class Rename:
    """One row of a key map: keys that match ``pattern`` as a whole get the name ``target`` (in ``re.sub`` notation).

    Attributes:
        target: None drops the key on purpose, for ``reason``.
        transform: applied to the tensor, e.g. a transposition.
        part: (i, n): the tensor is piece i of n that are joined along the first axis (q, k, v into qkv).
    """

    pattern: str
    target: str | None = None
    reason: str = ''
    transform: Callable[[Tensor], Tensor] | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class Source:
    """A published form of checkpoints.

    After ``canonical`` its keys are ours: ``backbone.<the backbone's state-dict key>`` and ``cls_head.fc_cls.*``.

    Attributes:
        name: the word for ``source=``.
        title: who publishes it, in words.
        families: the backbones whose weights it holds.
        ndim: 2 if it holds an image model, 3 for a video model.
        marks: patterns of keys, each with its tensor's number of axes, that a file of this source has; a file is
            recognized if each matches a key as a whole.
        absent: patterns that no key of this source matches.
        renames: the key map; the first row that matches counts, a key that none matches is an error.
        refusal: why such a file, though recognized, cannot be loaded, and what to use instead.
        class_orders: number of classes -> the order (of ``labels.ORDERS``) in which its classifiers list them.
        order_doubts: number of classes -> what is unknown about the order, for the report.
        tells: from a file's tensors, the attributes of the backbone that they demand but that their keys and shapes
            under our names do not show.
    """

    name: str
    title: str
    families: tuple[str, ...]
    ndim: int
    marks: Mapping[str, int]
    absent: tuple[str, ...] = ()
    renames: tuple[Rename, ...] = ()
    refusal: str = ''
    class_orders: Mapping[int, str] = field(default_factory=dict)
    order_doubts: Mapping[int, str] = field(default_factory=dict)
    tells: Callable[[Mapping[str, Tensor]], dict[str, Any]] | None = None

    def recognizes(self, tensors: Mapping[str, Tensor]) -> bool:
        return all(
            any(tensor.ndim == ndim and re.fullmatch(pattern, key) for key, tensor in tensors.items())
            for pattern, ndim in self.marks.items()
        ) and not any(re.fullmatch(pattern, key) for pattern in self.absent for key in tensors)


@dataclass
class Canonical:
    """A checkpoint under our keys: its tensors, the old name of each renamed one, and what was dropped and why."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def canonical(tensors: Mapping[str, Tensor], source: Source) -> Canonical:
    """Apply the key map of ``source``.

    Raises:
        CheckpointError: for keys that no row matches, two keys of one name, and missing pieces of a joined tensor.
    """
    result, unknown = Canonical(), []
    pieces: dict[str, dict[int, tuple[str, Tensor, int]]] = {}
    for key, tensor in tensors.items():
        row = next((row for row in source.renames if re.fullmatch(row.pattern, key)), None)
        if row is None:
            unknown.append(key)
            continue
        if row.target is None:
            result.dropped[key] = row.reason
            continue
        name = re.sub(row.pattern, row.target, key)
        value = tensor if row.transform is None else row.transform(tensor)
        index, count = row.part or (0, 1)
        if index in pieces.setdefault(name, {}):
            raise CheckpointError(f'{key} and {pieces[name][index][0]} are both {name}: the file holds two models')
        pieces[name][index] = (key, value, count)
    if unknown:
        raise CheckpointError(
            f'keys that {source.title} does not have: {listed(unknown)}. Name another source=, or delete these keys '
            'from the checkpoint if they are not wanted'
        )
    for name, found in pieces.items():
        keys, values, counts = zip(*(found[index] for index in sorted(found)), strict=True)
        if len(found) != counts[0]:
            raise CheckpointError(f'{name} is joined from {counts[0]} tensors, but the file has only {listed(keys)}')
        result.tensors[name] = values[0] if len(values) == 1 else torch.cat(values)
        if keys != (name,):
            result.renamed[name] = ' + '.join(keys)
    return result


@dataclass(frozen=True)
class Job:
    """What a rule may ask: the tensors under the backbone's own keys, the backbone, the options of the call.

    Attributes:
        images: the checkpoint is an image model's, the backbone is for video.
        keep_init: pattern of the backbone's keys that stay at init, whatever the file holds.
    """

    tensors: Mapping[str, Tensor]
    backbone: Any
    inflate: str
    pos_interpolation: str
    images: bool
    keep_init: str


class Converted(NamedTuple):
    """What a rule returns: the new tensor, the action, and from what to what and how, in words.

    The action is 'inflated' or 'resized', or 'left at init' for a tensor of the file that is not wanted.
    """

    tensor: Tensor
    action: str
    how: str


# (key, tensor of the file, wanted shape, job) -> Converted; raises CheckpointError where it does not apply.
Rule = Callable[[str, Tensor, torch.Size, Job], Converted]


@dataclass(frozen=True)
class Convert:
    """Tensors whose key matches ``pattern`` and whose shape is not the model's are converted by ``rule``."""

    pattern: str
    rule: Rule


@dataclass(frozen=True)
class Borrow:
    """A key of the model that an image checkpoint lacks takes the tensor of ``source``, in ``re.sub`` notation."""

    pattern: str
    source: str
    reason: str


@dataclass(frozen=True)
class KeepInit:
    """A key of the model that a checkpoint may lack; it stays at its initialization."""

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
    """How checkpoints become the weights of one backbone class. Patterns match the backbone's own keys as a whole.

    Attributes:
        name: ``Backbone.family``.
        inflate: the kernel rule with which the published models were made.
        remarks: what a user of (source, file, model) should know, for the report's notes.
        derived: buffers in files that the model computes itself; rules may read them, nothing loads them.
        advice: pattern of keys that only one of file and model has -> which argument of the model decides on them.
    """

    name: str
    inflate: str
    derived: tuple[str, ...] = ()
    converts: tuple[Convert, ...] = ()
    borrows: tuple[Borrow, ...] = ()
    keeps_init: tuple[KeepInit, ...] = ()
    surplus: tuple[Surplus, ...] = ()
    remarks: Callable[[Source, Canonical, Any], list[str]] | None = None
    advice: Mapping[str, str] = field(default_factory=dict)
