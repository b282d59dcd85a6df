"""A checkpoint of any known source becomes a plain MMAction2 one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope
from torch import nn

import vidtx_mm
from vidtx_mm.weights import LoadReport, Options, adapt, open_checkpoint
from vidtx_mm.weights.convert import rename

from .configs import find_config

NEEDS_MODEL = ('inflate', 'head', 'keep_init', 'allow_nonfinite')


def convert(
    src: str, dst: Path, config: str | None = None, cfg_options: Mapping[str, Any] | None = None, **options: Any
) -> LoadReport:
    """Write ``src`` as a MMAction2 checkpoint and return the report, which the file keeps as ``meta['report']``.

    Without a config the keys of a video checkpoint are renamed; its shapes and its head stay. With one, the checkpoint
    is brought to that model, strictly: an image model is inflated, position embeddings are resized, a head of other
    classes is left out.

    Args:
        src: a file or a web address: .pth .pyth .bin .safetensors .npz or flax msgpack.
        dst: the .pth file to write, in folders that may not exist yet.
        config: name or file of the config of the model that the checkpoint is for.
        cfg_options: changes to it.
        options: further arguments of :func:`vidtx_mm.weights.load_pretrained`.

    Raises:
        CheckpointError: if the checkpoint is unknown or does not fit.
        ValueError: if an argument has no valid value.
    """
    if dst.exists():
        raise ValueError(f'{dst} exists: delete it or choose another name')
    if dst.suffix != '.pth':
        raise ValueError(f'{dst}: the name must end in .pth')
    parsed = Options.parse(options)
    if config is None:
        if (
            cfg_options
            or parsed.source == 'own'
            or any(getattr(parsed, name) != getattr(Options(), name) for name in NEEDS_MODEL)
        ):
            raise ValueError(
                '--inflate, --head, --keep-init, --allow-nonfinite, --cfg-options and --source own concern a model: '
                'give its --config'
            )
        state_dict, report = rename(open_checkpoint(src), parsed.source, parsed.class_order)
    else:
        cfg = Config.fromfile(find_config(config))
        cfg.merge_from_dict(dict(cfg_options or {}))
        state_dict, report = adapt(open_checkpoint(src), _build(cfg), parsed)
    meta: dict[str, Any] = dict(vidtx_mm_version=vidtx_mm.__version__, report=str(report))
    if config is not None and (classes := _dataset_meta(cfg)):
        meta['dataset_meta'] = classes
    dst.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(meta=meta, state_dict={key: value.clone() for key, value in state_dict.items()}), dst)
    return report


def _build(cfg: Config) -> nn.Module:
    """Build the model without memory for its weights, but with the values of its preprocessing."""
    settings = cfg.model.copy()
    preprocessor = settings.pop('data_preprocessor', None)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        with torch.device('meta'):
            model = MODELS.build(settings)
        if preprocessor is not None:  # its mixup reads tensors at construction, which the meta device cannot
            model.data_preprocessor = MODELS.build(preprocessor)
    return model


def _dataset_meta(cfg: Config) -> dict[str, Any]:
    """Return the class names and palette of the tested data set, which the inferencers read from a checkpoint."""
    dataset = cfg.get('test_dataloader', {}).get('dataset', {})
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        kind = DATASETS.get(dataset['type']) if 'type' in dataset else None
    return {**getattr(kind, 'METAINFO', {}), **(dataset.get('metainfo') or {})}
