"""The entrance: a checkpoint of any known source becomes a model's state dict, strictly, with a report."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .errors import CheckpointError, listed
from .fit import Misfits, Shapes, fit_backbone, fit_head
from .formats import Opened, open_checkpoint
from .inflate import KERNEL_RULES
from .labels import in_order
from .options import Options
from .report import Entry, LoadReport
from .sources import FAMILIES, OWN, SOURCES, Family, Job, Rename, Source, canonical, detect

PREFIX = 'backbone.'


def load_pretrained(
    model: nn.Module,
    path_or_dict: str | Path | Mapping[str, Any],
    source: str = 'auto',
    inflate: str | None = None,
    head: str = 'auto',
    class_order: str = 'auto',
    pos_interpolation: str = 'bicubic',
    keep_init: str = '',
) -> LoadReport:
    """Load a checkpoint of any known source into a backbone, or into a model that has one as ``.backbone``.

    Args:
        path_or_dict: a file, a web address, or a checkpoint in memory (see :func:`.formats.open_checkpoint`).
        source: a name of ``SOURCES``, 'own' for the model's own keys, or 'auto' to recognize it by keys and shapes.
        inflate: how image kernels become video kernels, 'mean' or 'center' (see :func:`.inflate.inflate_kernel`); None
            takes the rule with which the family's published models were made. 'random', for ViViT's tubelets, leaves
            them as the model drew them.
        head: 'auto' loads the classifier if the class counts agree and leaves it at init otherwise; an image model's
            classifier is not taken for a video model. 'keep' must load all of it, 'drop' none.
        class_order: the order of the file's classes: a name of ``labels.ORDERS``, from which the classifier is brought
            to that of MMAction2's lists; 'as_is' keeps the file's order; 'auto' knows what the source publishes.
        pos_interpolation: 'bicubic' or 'nearest', for position embeddings and bias tables of another size in space;
            'flat_nearest', for position embeddings, is the rule of the official TimeSformer's loader, which mixes up
            rows and columns.
        keep_init: regular expression for whole names of backbone parameters that stay at init, whatever the file
            holds.

    Returns:
        The report of what was done with every tensor.

    Raises:
        CheckpointError: if anything is unknown, missing or of another shape; the model is then unchanged.
    """
    options = Options(source, inflate, head, class_order, pos_interpolation, keep_init)
    state_dict, report = adapt(open_checkpoint(path_or_dict), model, options)
    model = unwrapped(model)
    model.load_state_dict({**model.state_dict(), **state_dict})
    return report


def adapt(opened: Opened, model: nn.Module, options: Options | None = None) -> tuple[dict[str, Tensor], LoadReport]:
    """The part of ``model``'s state dict that a checkpoint gives, and the report. Changes neither.

    Raises:
        CheckpointError: see :func:`load_pretrained`.
    """
    options = options or Options()
    model = unwrapped(model)
    backbone = getattr(model, 'backbone', model)
    family = FAMILIES.get(getattr(backbone, 'family', ''))
    if family is None:
        raise CheckpointError(
            f'{type(model).__name__} is no backbone of vidtx_mm and has none as .backbone ({type(backbone).__name__}): '
            "only those can take other sources' weights"
        )
    bare = backbone is model
    prefix = '' if bare else PREFIX
    body, head = split({(PREFIX if bare else '') + key: value.shape for key, value in model.state_dict().items()})
    try:
        if options.keep_init and not any(re.fullmatch(options.keep_init, key) for key in body):
            raise CheckpointError(
                f'keep_init={options.keep_init!r} is the whole name of no parameter; they are {listed(body)}'
            )
        found = choose_source(opened, body, head, backbone, options)
        _check_family(found, family, backbone)
        _check_attributes(found, opened.tensors, backbone, options.keep_init)
        file = canonical(opened.tensors, found)
    except CheckpointError as error:
        raise CheckpointError(f'{opened.name} into {type(backbone).__name__}: {error}') from error

    report = LoadReport(opened.name, opened.container, found.title, type(model).__name__)
    file_body, file_head = split(file.tensors)
    file_head, remark = in_order(file_head, found, options.class_order)
    images = found.ndim < getattr(backbone, 'ndim', 3)
    job = Job(
        file_body, backbone, options.inflate or family.inflate, options.pos_interpolation, images, options.keep_init
    )
    misfits = Misfits()
    state_dict = {prefix + key: tensor for key, tensor in fit_backbone(body, job, family, report, misfits).items()}
    body_entries, report.entries = _named(report.entries, file.renamed, PREFIX, prefix), []
    discard = 'the model is a bare backbone' if bare else ''
    if images and options.head == 'auto':
        discard = discard or 'an image classifier does not serve video'
    loaded_head = fit_head(head, file_head, options.head, discard, family, report, misfits)
    report.entries = body_entries + _named(report.entries, file.renamed, '', '')
    if misfits:
        raise CheckpointError(
            f'{opened.name} ({found.title}) does not fit {type(backbone).__name__}:\n{misfits}\n'
            f'{_advice(family, misfits)}Make the model like '
            "the file (arch, attention, patch_size, window_size, ...); head='drop' leaves out a head that is not wanted"
        )
    for key, reason in file.dropped.items():
        report.add(key, 'dropped', reason)
    report.notes += [remark] if remark and loaded_head else []
    report.notes += _inflation_notes(options.inflate, job, report)
    report.notes += family.remarks(found, file, model) if family.remarks else []
    state_dict |= loaded_head
    report.count(model, state_dict)
    return state_dict, report


def _advice(family: Family, misfits: Misfits) -> str:
    keys = misfits.missing + misfits.unexpected
    return ''.join(
        f'{text}.\n' for pattern, text in family.advice.items() if any(re.fullmatch(pattern, key) for key in keys)
    )


def _inflation_notes(asked: str | None, job: Job, report: LoadReport) -> list[str]:
    if job.images and asked is None and report.keys('inflated'):
        others = ', '.join(f'inflate={rule!r}' for rule in KERNEL_RULES if rule != job.inflate)
        return [
            f'image kernels were inflated by {job.inflate!r}, as for the published models; {others} is the other rule'
        ]
    if asked and not job.images:
        return [f'inflate={asked!r} had nothing to do: the checkpoint is no image model']
    return []


def split(named: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What belongs to the backbone, under its own keys, and the rest."""
    body = {key[len(PREFIX) :]: value for key, value in named.items() if key.startswith(PREFIX)}
    return body, {key: value for key, value in named.items() if not key.startswith(PREFIX)}


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel and the like."""
    inner = getattr(model, 'module', None)
    return unwrapped(inner) if isinstance(inner, nn.Module) and not hasattr(model, 'backbone') else model


def choose_source(opened: Opened, wanted: Shapes, head: Shapes, backbone: nn.Module, options: Options) -> Source:
    """The source that the options name, or the one recognized; the model's own keys and shapes are recognized first.

    Args:
        wanted: the backbone's state dict; ``head``: that of the rest of the model.
    """
    prefixed = any(key.startswith(PREFIX) for key in opened.tensors)
    rows = (Rename(r'.+', r'\g<0>'),) if prefixed else (Rename(r'.+', PREFIX + r'\g<0>'),)
    ndim = getattr(backbone, 'ndim', 3)
    own = Source(OWN, 'vidtx_mm', tuple(FAMILIES), ndim, marks={}, renames=rows)
    if options.source == OWN:
        return own
    if options.source != 'auto':
        return SOURCES[options.source]
    body, rest = split(opened.tensors) if prefixed else (opened.tensors, {})
    same = {key: tensor.shape for key, tensor in body.items()} == wanted
    # A published file may have the backbone's very keys and another name for the head (mmpose 0.x: keypoint_head).
    return own if same and (not head or rest.keys() <= head.keys()) else detect(opened.tensors)


def check_complete(opened: Opened, model: nn.Module) -> None:
    """That a checkpoint has exactly the model's keys and shapes, as resuming needs.

    Raises:
        CheckpointError: which lists both sides.
    """
    file = {key: tensor.shape for key, tensor in opened.tensors.items()}
    wanted = {key: tensor.shape for key, tensor in unwrapped(model).state_dict().items()}
    misfits = Misfits(
        missing=[key for key in wanted if key not in file],
        unexpected=[key for key in file if key not in wanted],
        unfit={
            key: f'{tuple(file[key])} in the file, {tuple(shape)} in the model'
            for key, shape in wanted.items()
            if key in file and file[key] != shape
        },
    )
    if misfits:
        raise CheckpointError(
            f'{opened.name} is not a checkpoint of this very {type(unwrapped(model)).__name__} and cannot be resumed:\n'
            f'{misfits}\nResume with the config of that run, or start a new run from its weights by load_from='
        )


def _check_family(source: Source, family: Family, backbone: nn.Module) -> None:
    if family.name not in source.families:
        raise CheckpointError(f'this is a checkpoint of {listed(source.families)} ({source.title}): build that model')
    if source.ndim > getattr(backbone, 'ndim', 3):
        raise CheckpointError(
            f'this is a 3-D (video) checkpoint ({source.title}), the model is 2-D (images): '
            'give it an image checkpoint, or build the video model'
        )


def _check_attributes(source: Source, tensors: Mapping[str, Tensor], backbone: nn.Module, keep_init: str) -> None:
    told = source.tells(tensors) if source.tells else {}
    told = {name: value for name, value in told.items() if not re.fullmatch(keep_init, name)}
    wrong = {name: value for name, value in told.items() if getattr(backbone, name) != value}
    if wrong:
        raise CheckpointError(
            f'this is a checkpoint ({source.title}) of a model with {_arguments(wrong)}, but this '
            f'{type(backbone).__name__} has {_arguments({name: getattr(backbone, name) for name in wrong})}. Build the '
            'model like the file'
        )


def _arguments(values: Mapping[str, Any]) -> str:
    return ', '.join(f'{name}={value!r}' for name, value in values.items())


def _named(entries: list[Entry], renamed: Mapping[str, str], origin: str, prefix: str) -> list[Entry]:
    """Entries under the model's keys (dropped ones under the file's), called renamed where the two differ.

    Args:
        origin: what comes before the entries' keys in the canonical names.
        prefix: what comes before them in the model's.
    """
    named = []
    for entry in entries:
        key, was = prefix + entry.key, renamed.get(origin + entry.key, origin + entry.key)
        if entry.action == 'dropped':
            key = was
        elif entry.action == 'copied' and was.removeprefix(PREFIX) != key.removeprefix(PREFIX):
            entry = replace(entry, action='renamed', detail=f'from {was}')
        named.append(replace(entry, key=key))
    return named
