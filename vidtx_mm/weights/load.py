"""Load a checkpoint of any known source into a model: strictly, and with a report."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..checks import check, choose
from .errors import CheckpointError, listed
from .fit import COUNTER, Mismatches, fit_backbone, fit_head, sizes
from .formats import Opened, open_checkpoint
from .inflate import KERNEL_RULES, POS_INTERPOLATIONS, RANDOM
from .labels import CLASS_ORDERS, in_order
from .report import LoadReport
from .sources import FAMILIES, OWN, PREFIX, SOURCES, Context, Family, Rename, Source, canonical, detect

HEADS = ('auto', 'keep', 'drop')


@dataclass(frozen=True)
class Options:
    """Arguments of a load; see :func:`load_pretrained`."""

    source: str = 'auto'
    inflate: str | None = None
    head: str = 'auto'
    class_order: str = 'auto'
    pos_interpolation: str = 'bicubic'
    keep_init: str = ''
    allow_nonfinite: bool = False

    def __post_init__(self) -> None:
        choose('source', self.source, ('auto', OWN, *SOURCES))
        choose('inflate', self.inflate, (None, *KERNEL_RULES, RANDOM))
        choose('head', self.head, HEADS)
        choose('class_order', self.class_order, CLASS_ORDERS)
        choose('pos_interpolation', self.pos_interpolation, POS_INTERPOLATIONS)
        check('keep_init', self.keep_init, str)
        check('allow_nonfinite', self.allow_nonfinite, bool)
        try:
            re.compile(self.keep_init)
        except re.error as error:
            raise ValueError(f'keep_init={self.keep_init!r} is not a regular expression: {error}') from error

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> 'Options':
        """Build from keyword arguments.

        Raises:
            TypeError: for unknown ones, with the valid ones.
        """
        valid = [option.name for option in fields(cls)]
        unknown = [name for name in options if name not in valid]
        if unknown:
            raise TypeError(f'unknown option {listed(unknown)}: choose from {", ".join(valid)}')
        return cls(**options)


def load_pretrained(
    model: nn.Module,
    path_or_dict: str | Path | Mapping[str, Any],
    source: str = 'auto',
    inflate: str | None = None,
    head: str = 'auto',
    class_order: str = 'auto',
    pos_interpolation: str = 'bicubic',
    keep_init: str = '',
    allow_nonfinite: bool = False,
) -> LoadReport:
    """Load a checkpoint of any known source into a backbone, or into a model that has one as ``.backbone``.

    Args:
        path_or_dict: a file, an address, or a checkpoint in memory (see :func:`.formats.open_checkpoint`).
        source: a name in ``SOURCES``, 'own' for the model's own keys, or 'auto' to recognize it by keys and shapes.
        inflate: rule for kernels of image models, 'mean' or 'center' (see :func:`.inflate.inflate_kernel`); None takes
            that of the family's published models. 'random' leaves ViViT's tubelet kernel at init.
        head: 'auto' loads a classifier of as many classes as the model's and leaves others at init; the classifier of
            an image model is not loaded into a video model. 'keep' must load all of it, 'drop' none.
        class_order: order of the file's classes, a name in ``labels.PERMUTATIONS``; the classifier is brought to the
            order of MMAction2's lists. 'as_is' keeps the file's order; 'auto' knows that of each source.
        pos_interpolation: 'bicubic' or 'nearest', for position embeddings and relative position bias tables of another
            size in space; 'flat_nearest', for position embeddings, is the rule of the official TimeSformer's loader,
            which mixes up rows and columns.
        keep_init: regular expression for full names of backbone parameters that stay at init.
        allow_nonfinite: load NaN and infinite values.

    Returns:
        The report: one record per tensor.

    Raises:
        CheckpointError: if anything is unknown, missing, of another shape, not finite, or of a type that the model's
            parameters cannot take. The model is then unchanged.
    """
    options = Options(source, inflate, head, class_order, pos_interpolation, keep_init, allow_nonfinite)
    state_dict, report = adapt(open_checkpoint(path_or_dict), model, options)
    copy_into(model, state_dict, report)
    return report


def copy_into(model: nn.Module, state_dict: Mapping[str, Tensor], report: LoadReport) -> None:
    """Copy the result of :func:`adapt` into ``model``."""
    model = unwrapped(model)
    expected = model.state_dict()
    if any(target.is_meta for target in expected.values()):
        raise CheckpointError(f'{report.checkpoint}: {report.model} is on the meta device: call its to_empty() first')
    model.load_state_dict({**expected, **state_dict})


def adapt(opened: Opened, model: nn.Module, options: Options | None = None) -> tuple[dict[str, Tensor], LoadReport]:
    """Return the part of ``model``'s state dict that a checkpoint gives, and the report. Neither is changed.

    Raises:
        CheckpointError: see :func:`load_pretrained`.
    """
    options = options or Options()
    model = unwrapped(model)
    backbone: Any = getattr(model, 'backbone', model)
    family = FAMILIES.get(getattr(backbone, 'family', ''))
    if family is None:
        raise CheckpointError(
            f'{opened.name}: {type(model).__name__} is not a vidtx_mm backbone and has no .backbone that is one '
            f'({type(backbone).__name__}): build one, only those take checkpoints of other sources'
        )
    prefix = '' if backbone is model else PREFIX
    body = backbone.state_dict()
    rest = {key: value for key, value in model.state_dict().items() if prefix and not key.startswith(prefix)}
    try:
        if options.keep_init and not any(re.fullmatch(options.keep_init, key) for key in body):
            raise CheckpointError(
                f'keep_init={options.keep_init!r} is not the full name of a parameter; they are {listed(body)}'
            )
        source = choose_source(opened, body, rest, backbone.ndim, options)
        _check_family(source, family, backbone)
        _check_implied_args(source, opened.tensors, backbone, options.keep_init)
        file = canonical(opened.tensors, source)
        head, order_note = in_order(file.head, source, options.class_order)
        head = {_name_in(rest, key, family): weight for key, weight in head.items()}
    except CheckpointError as error:
        raise CheckpointError(f'{opened.name} into {type(backbone).__name__}: {error}') from error

    images = source.ndim < backbone.ndim
    context = Context(
        weights=file.backbone,
        backbone=backbone,
        inflate=options.inflate or family.inflate,
        pos_interpolation=options.pos_interpolation,
        images=images,
        keep_init=options.keep_init,
        allow_nonfinite=options.allow_nonfinite,
    )
    discard = '' if prefix else 'the model is a bare backbone'
    if images and options.head == 'auto':
        discard = discard or 'an image classifier does not serve video'
    mismatches = Mismatches()
    fitted = [
        *((prefix, item) for item in fit_backbone(body, context, family, mismatches)),
        *(('', item) for item in fit_head(rest, head, options.head, discard, context, family, mismatches)),
    ]
    if mismatches:
        raise CheckpointError(
            f'{opened.name} ({source.title}) does not fit {type(backbone).__name__}:\n{mismatches}\n'
            f'{_advice(family, mismatches)}'
        )
    report = LoadReport(opened.name, opened.container, source.title, type(model).__name__)
    state_dict: dict[str, Tensor] = {}
    for part, item in fitted:
        key = item.key if item.action == 'dropped' else part + item.key
        report.add(key, item.action, item.detail)
        if item.tensor is not None:
            state_dict[key] = item.tensor
    for key, reason in file.dropped.items():
        report.add(key, 'dropped', reason)
    report.notes += [order_note] if order_note and head.keys() & state_dict.keys() else []
    report.notes += _inflation_notes(options.inflate, context, report)
    report.notes += family.remarks(source, file, model, backbone) if family.remarks else []
    report.count(model, state_dict)
    return state_dict, report


def _name_in(rest: Mapping[str, Tensor], key: str, family: Family) -> str:
    """Return the key of a classifier's weight in a model whose other keys are ``rest``."""
    module, _, last = key.rpartition('.')
    name = f'{family.heads.get(module, module)}.{last}'
    return name if name in rest else key


def _advice(family: Family, mismatches: Mismatches) -> str:
    keys = mismatches.missing + mismatches.unexpected
    lines = [text + '.' for pattern, text in family.advice.items() if any(re.fullmatch(pattern, key) for key in keys)]
    if keys or mismatches.shapes:
        lines.append(
            'Build the model like the file (arch, attention, patch_size, window_size, ...), or leave out its head by '
            "head='drop'"
        )
    return '\n'.join(lines)


def _inflation_notes(asked: str | None, context: Context, report: LoadReport) -> list[str]:
    if context.images and asked is None and report.keys('inflated'):
        others = ', '.join(f'inflate={rule!r}' for rule in KERNEL_RULES if rule != context.inflate)
        return [
            f'image kernels were inflated by {context.inflate!r}, as for the published models; the other rule is '
            f'{others}'
        ]
    if asked and not context.images:
        return [f'inflate={asked!r} had no effect: the checkpoint is not of an image model']
    return []


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the model inside DistributedDataParallel and similar wrappers."""
    inner = getattr(model, 'module', None)
    return unwrapped(inner) if isinstance(inner, nn.Module) and not hasattr(model, 'backbone') else model


def choose_source(
    opened: Opened, body: Mapping[str, Tensor], head: Mapping[str, Tensor], ndim: int, options: Options
) -> Source:
    """Return the source that the options name, or recognize it; the model's own keys and shapes are tried first.

    Args:
        body: the backbone's state dict.
        head: that of the rest of the model.
        ndim: 2 if the backbone is for images, 3 for video.
    """
    same = Rename(r'.+', r'\g<0>')
    own = Source(title='vidtx_mm', signature={}, name=OWN, families=tuple(FAMILIES), ndim=ndim, backbone=(same,))
    tensors, others = opened.tensors, {}
    if any(key.startswith(PREFIX) for key in tensors):
        own = replace(own, backbone=(Rename(re.escape(PREFIX) + '(.+)', r'\1'),), head=(same,))
        others = {key: value for key, value in tensors.items() if not key.startswith(PREFIX)}
        tensors = {key.removeprefix(PREFIX): value for key, value in tensors.items() if key not in others}
    if options.source == OWN:
        return own
    if options.source != 'auto':
        return SOURCES[options.source]
    # A published file may have the backbone's very keys and another name for the head (mmpose 0.x: keypoint_head).
    known = not head or others.keys() <= head.keys()
    return own if known and _shapes(tensors) == _shapes(body) else detect(opened.tensors)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: tensor.shape for key, tensor in tensors.items() if not key.endswith(COUNTER)}


def check_complete(opened: Opened, model: nn.Module) -> None:
    """Check that a checkpoint has exactly the model's keys and shapes, as resuming requires.

    Raises:
        CheckpointError: otherwise, with all differences.
    """
    expected = unwrapped(model).state_dict()
    file = opened.tensors
    mismatches = Mismatches(
        missing=[key for key in expected if key not in file and not key.endswith(COUNTER)],
        unexpected=[key for key in file if key not in expected],
        shapes={
            key: sizes(file[key], target)
            for key, target in expected.items()
            if key in file and file[key].shape != target.shape
        },
    )
    if mismatches:
        raise CheckpointError(
            f'{opened.name} is not a checkpoint of this {type(unwrapped(model)).__name__} and cannot be resumed:\n'
            f'{mismatches}\nResume with the config of that run, or start a new run from its weights by load_from='
        )


def _check_family(source: Source, family: Family, backbone: Any) -> None:
    if family.name not in source.families:
        raise CheckpointError(f'this is a checkpoint of {listed(source.families)} ({source.title}): build that model')
    if source.ndim > backbone.ndim:
        raise CheckpointError(
            f'this is a 3-D (video) checkpoint ({source.title}), but the model is 2-D (images): load an image '
            'checkpoint, or build the video model'
        )


def _check_implied_args(source: Source, tensors: Mapping[str, Tensor], backbone: nn.Module, keep_init: str) -> None:
    implied = source.implied_args(tensors) if source.implied_args else {}
    wrong = {
        name: value
        for name, value in implied.items()
        if not re.fullmatch(keep_init, name) and getattr(backbone, name) != value
    }
    if wrong:
        raise CheckpointError(
            f'this is a checkpoint ({source.title}) of a model with {_arguments(wrong)}, but this '
            f'{type(backbone).__name__} has {_arguments({name: getattr(backbone, name) for name in wrong})}. Build the '
            'model like the file'
        )


def _arguments(values: Mapping[str, Any]) -> str:
    return ', '.join(f'{name}={value!r}' for name, value in values.items())
