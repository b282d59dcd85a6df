"""TimeSformer: its published checkpoints, and the image ViTs that it starts from."""

import math
from typing import Any

import torch
from torch import Tensor

from ...layers.position import resize_space_table, resize_time_table
from ..errors import CheckpointError
from ..inflate import FLAT_NEAREST
from .base import Borrow, Canonical, Convert, Converted, Family, Job, KeepInit, Rename, Source, Surplus
from .rules import bgr_note, other_statistics, resize_frames, square_table_note

MMACTION_MEAN_STD = 127.5
_BODY = r'(cls_token|pos_embed|time_embed|(?:patch_embed|blocks|norm\d*)\..+)'


def _mmaction(*rows: tuple[str, str]) -> tuple[Rename, ...]:
    """The map of MMAction2's names; ``rows`` are those of a layer's attentions and norms."""
    layer = r'(?:backbone\.)?transformer_layers\.layers\.(\d+)'
    ours = r'backbone.blocks.\1'
    return (
        Rename(r'(?:backbone\.)?(cls_token|pos_embed|time_embed|norm\..+)', r'backbone.\1'),
        Rename(r'(?:backbone\.)?patch_embed\.projection\.(.+)', r'backbone.patch_embed.proj.\1'),
        Rename(rf'{layer}\.ffns\.0\.layers\.0\.0\.(.+)', rf'{ours}.mlp.fc1.\2'),
        Rename(rf'{layer}\.ffns\.0\.layers\.1\.(.+)', rf'{ours}.mlp.fc2.\2'),
        *(Rename(rf'{layer}\.{theirs}(.+)', rf'{ours}.{name}\2') for theirs, name in rows),
        Rename(r'cls_head\.fc_cls\.(.+)', r'cls_head.fc_cls.\1'),
    )


_PLAIN = _mmaction(
    (r'attentions\.0\.attn\.in_proj_', 'attn.qkv.'),
    (r'attentions\.0\.attn\.out_proj\.', 'attn.proj.'),
    (r'norms\.0\.', 'norm1.'),
    (r'norms\.1\.', 'norm2.'),
)
_DIVIDED = _mmaction(
    (r'attentions\.0\.norm\.', 'temporal_norm1.'),
    (r'attentions\.0\.attn\.in_proj_', 'temporal_attn.qkv.'),
    (r'attentions\.0\.attn\.out_proj\.', 'temporal_attn.proj.'),
    (r'attentions\.0\.temporal_fc\.', 'temporal_fc.'),
    (r'attentions\.1\.norm\.', 'norm1.'),
    (r'attentions\.1\.attn\.in_proj_', 'attn.qkv.'),
    (r'attentions\.1\.attn\.out_proj\.', 'attn.proj.'),
    (r'ffns\.0\.norm\.', 'norm2.'),
)
_HF_LAYER, _HF_OURS = r'(?:timesformer\.)?encoder\.layer\.(\d+)', r'backbone.blocks.\1'
_HUGGINGFACE = (
    Rename(r'(?:timesformer\.)?embeddings\.cls_token', 'backbone.cls_token'),
    Rename(r'(?:timesformer\.)?embeddings\.position_embeddings', 'backbone.pos_embed'),
    Rename(r'(?:timesformer\.)?embeddings\.time_embeddings', 'backbone.time_embed'),
    Rename(r'(?:timesformer\.)?embeddings\.patch_embeddings\.projection\.(.+)', r'backbone.patch_embed.proj.\1'),
    Rename(rf'{_HF_LAYER}\.layernorm_before\.(.+)', rf'{_HF_OURS}.norm1.\2'),
    Rename(rf'{_HF_LAYER}\.layernorm_after\.(.+)', rf'{_HF_OURS}.norm2.\2'),
    Rename(rf'{_HF_LAYER}\.temporal_layernorm\.(.+)', rf'{_HF_OURS}.temporal_norm1.\2'),
    Rename(rf'{_HF_LAYER}\.temporal_dense\.(.+)', rf'{_HF_OURS}.temporal_fc.\2'),
    Rename(rf'{_HF_LAYER}\.(temporal_)?attention\.attention\.qkv\.(.+)', rf'{_HF_OURS}.\2attn.qkv.\3'),
    Rename(rf'{_HF_LAYER}\.(temporal_)?attention\.output\.dense\.(.+)', rf'{_HF_OURS}.\2attn.proj.\3'),
    Rename(rf'{_HF_LAYER}\.intermediate\.dense\.(.+)', rf'{_HF_OURS}.mlp.fc1.\2'),
    Rename(rf'{_HF_LAYER}\.output\.dense\.(.+)', rf'{_HF_OURS}.mlp.fc2.\2'),
    Rename(r'(?:timesformer\.)?layernorm\.(.+)', r'backbone.norm.\1'),
    Rename(r'classifier\.(.+)', r'cls_head.fc_cls.\1'),
)
_OFFICIAL = (
    Rename(rf'(?:model\.|backbone\.)?{_BODY}', r'backbone.\1'),
    Rename(r'(?:(?:model\.)?head|cls_head\.fc_cls)\.(weight|bias)', r'cls_head.fc_cls.\1'),
)
_FRAMES = r'patch_embed\.proj\.weight'  # four axes: TimeSformer's patches are of single frames

SOURCES = (
    Source(
        name='timesformer',
        title='official TimeSformer',
        families=('timesformer',),
        ndim=3,
        marks={
            rf'(model\.|backbone\.)?{_FRAMES}': 4,
            r'(model\.|backbone\.)?time_embed': 3,
            r'(model\.|backbone\.)?blocks\.0\.attn\.qkv\.weight': 2,
        },
        renames=_OFFICIAL,
    ),
    Source(
        name='timesformer_space',
        title='official TimeSformer, space only',
        families=('timesformer',),
        ndim=3,
        marks={
            rf'(model|backbone)\.{_FRAMES}': 4,
            r'(model|backbone)\.cls_token': 3,
            r'(model|backbone)\.blocks\.0\.attn\.qkv\.weight': 2,
        },
        absent=(r'(model|backbone)\.(time_embed|blocks\.0\.temporal_.+)',),
        renames=_OFFICIAL,
    ),
    Source(
        name='mmaction_timesformer',
        title='MMAction2 1.x TimeSformer, divided',
        families=('timesformer',),
        ndim=3,
        marks={r'(backbone\.)?transformer_layers\.layers\.0\.attentions\.1\.attn\.in_proj_weight': 2},
        renames=_DIVIDED,
    ),
    Source(
        name='mmaction_timesformer_joint',
        title='MMAction2 1.x TimeSformer, joint',
        families=('timesformer',),
        ndim=3,
        marks={
            r'(backbone\.)?time_embed': 3,
            r'(backbone\.)?transformer_layers\.layers\.0\.norms\.0\.weight': 1,
        },
        renames=_PLAIN,
    ),
    Source(
        name='mmaction_timesformer_space',
        title='MMAction2 1.x TimeSformer, space only',
        families=('timesformer',),
        ndim=3,
        marks={r'backbone\.transformer_layers\.layers\.0\.norms\.0\.weight': 1},
        absent=(r'backbone\.time_embed',),
        renames=_PLAIN,
    ),
    Source(
        name='huggingface_timesformer',
        title='transformers TimeSformer',
        families=('timesformer',),
        ndim=3,
        marks={
            r'(timesformer\.)?embeddings\.position_embeddings': 3,
            r'(timesformer\.)?encoder\.layer\.0\.attention\.attention\.qkv\.weight': 2,
        },
        renames=_HUGGINGFACE,
    ),
    Source(
        name='timm_vit',
        title='timm image ViT',
        families=('timesformer', 'vivit'),
        ndim=2,
        marks={_FRAMES: 4, 'cls_token': 3, 'pos_embed': 3, r'blocks\.0\.attn\.qkv\.weight': 2},
        absent=('time_embed', r'blocks\.0\.(temporal|local|width)_.+'),
        renames=(Rename(r'pre_logits\..+', reason='belongs to the image classifier'), *_OFFICIAL),
    ),
    Source(
        name='mmaction_vit',
        title="MMAction2's converted image ViT",
        families=('timesformer', 'vivit'),
        ndim=2,
        marks={'pos_embed': 3, r'transformer_layers\.layers\.0\.norms\.0\.weight': 1},
        absent=('time_embed',),
        renames=_PLAIN,
    ),
)


def _space_table(key: str, table: Tensor, shape: torch.Size, job: Job) -> Converted:
    if table.shape[2] != shape[2]:
        raise CheckpointError(f'{table.shape[2]} channels in the file, {shape[2]} in the model (arch)')
    cls, cells = table[:, :1], table[:, 1:]
    count, grid = cells.shape[1], job.backbone.grid
    side = math.isqrt(count)
    if job.pos_interpolation == FLAT_NEAREST:
        cells = resize_time_table(cells, shape[1] - 1, 'nearest')
        how = f'{count} -> {shape[1] - 1} patches, nearest along the flattened grid'
    elif side**2 == count:
        cells = resize_space_table(cells, (side, side), grid, job.pos_interpolation)
        how = f'{(side, side)} -> {grid} patches, {job.pos_interpolation}'
    else:
        raise CheckpointError(
            f'{count} patches are no square, so the grid of the file is unknown: set img_size to what the file was '
            'trained with (other clips are resized in the model)'
        )
    return Converted(torch.cat([cls, cells], 1), 'resized', how)


def _time_table(key: str, table: Tensor, shape: torch.Size, job: Job) -> Converted:
    if table.shape[2] != shape[2]:
        raise CheckpointError(f'{table.shape[2]} channels in the file, {shape[2]} in the model (arch)')
    resized, mode = resize_frames(table, shape[1], job)
    return Converted(resized, 'resized', f'{table.shape[1]} -> {shape[1]} frames, {mode}')


def _remarks(source: Source, file: Canonical, model: Any) -> list[str]:
    return [*_channel_order(source, file, model), *_normalization(source, model), *_grid(source, file, model)]


def _channel_order(source: Source, file: Canonical, model: Any) -> list[str]:
    official = any(old.startswith('model.') for old in file.renamed.values())
    return bgr_note(file, model) if official or source.name == 'huggingface_timesformer' else []


def _normalization(source: Source, model: Any) -> list[str]:
    """A note on MMAction2's models, which were trained with another mean and std than the official ones."""
    others = other_statistics(model, MMACTION_MEAN_STD)
    if not others or not source.name.startswith('mmaction_timesformer'):
        return []
    return [
        f'MMAction2 trained its TimeSformers with mean and std {MMACTION_MEAN_STD}, data_preprocessor has {others}: '
        f'set both to [{MMACTION_MEAN_STD}] * 3'
    ]


def _grid(source: Source, file: Canonical, model: Any) -> list[str]:
    table = file.tensors.get('backbone.pos_embed')
    if source not in SOURCES or table is None:
        return []
    return square_table_note(table.shape[1] - 1, getattr(model, 'backbone', model).grid)


_ADDED = r'blocks\.(\d+)\.(?:temporal|local|width)_'
FAMILY = Family(
    name='timesformer',
    inflate='mean',
    converts=(Convert('pos_embed', _space_table), Convert('time_embed', _time_table)),
    borrows=(Borrow(rf'{_ADDED}((?:attn|norm1)\..+)', r'blocks.\1.\2', 'starts from the spatial attention'),),
    keeps_init=(
        KeepInit(rf'{_ADDED}fc\..+', 'zero: the added attention starts without effect'),
        KeepInit('time_embed', 'the image model has no frames'),
        KeepInit(r'norm\d+\..+', 'published files have the norm of the last block only', images_only=False),
    ),
    surplus=(Surplus(r'norm\d*\..+', 'of a block that is not in out_indices'),),
    remarks=_remarks,
)
