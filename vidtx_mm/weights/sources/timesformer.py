"""TimeSformer: published checkpoints, and image ViTs for inflation."""

import math
from typing import Any

import torch
from torch import Tensor

from ...layers.position import resize_space_table, resize_time_table
from ..errors import CheckpointError
from ..inflate import FLAT_NEAREST
from .base import Borrow, Canonical, Context, Convert, Converted, Family, KeepInit, Rename, Source, Surplus
from .rules import bgr_note, check_channels, other_statistics, resize_frames, square_grid_note

MMACTION_MEAN_STD = 127.5
_BODY = r'(cls_token|pos_embed|time_embed|(?:patch_embed|blocks|norm\d*)\..+)'


def _mmaction(*rows: tuple[str, str]) -> tuple[Rename, ...]:
    """Return the key map of MMAction2's names; ``rows`` map the attentions and norms of a layer."""
    layer = r'(?:backbone\.)?transformer_layers\.layers\.(\d+)'
    ours = r'blocks.\1'
    return (
        Rename(r'(?:backbone\.)?(cls_token|pos_embed|time_embed|norm\..+)', r'\1'),
        Rename(r'(?:backbone\.)?patch_embed\.projection\.(.+)', r'patch_embed.proj.\1'),
        Rename(rf'{layer}\.ffns\.0\.layers\.0\.0\.(.+)', rf'{ours}.mlp.fc1.\2'),
        Rename(rf'{layer}\.ffns\.0\.layers\.1\.(.+)', rf'{ours}.mlp.fc2.\2'),
        *(Rename(rf'{layer}\.{theirs}(.+)', rf'{ours}.{name}\2') for theirs, name in rows),
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
_HF_LAYER, _HF_OURS = r'(?:timesformer\.)?encoder\.layer\.(\d+)', r'blocks.\1'
_HUGGINGFACE = (
    Rename(r'(?:timesformer\.)?embeddings\.cls_token', 'cls_token'),
    Rename(r'(?:timesformer\.)?embeddings\.position_embeddings', 'pos_embed'),
    Rename(r'(?:timesformer\.)?embeddings\.time_embeddings', 'time_embed'),
    Rename(r'(?:timesformer\.)?embeddings\.patch_embeddings\.projection\.(.+)', r'patch_embed.proj.\1'),
    Rename(rf'{_HF_LAYER}\.layernorm_before\.(.+)', rf'{_HF_OURS}.norm1.\2'),
    Rename(rf'{_HF_LAYER}\.layernorm_after\.(.+)', rf'{_HF_OURS}.norm2.\2'),
    Rename(rf'{_HF_LAYER}\.temporal_layernorm\.(.+)', rf'{_HF_OURS}.temporal_norm1.\2'),
    Rename(rf'{_HF_LAYER}\.temporal_dense\.(.+)', rf'{_HF_OURS}.temporal_fc.\2'),
    Rename(rf'{_HF_LAYER}\.(temporal_)?attention\.attention\.qkv\.(.+)', rf'{_HF_OURS}.\2attn.qkv.\3'),
    Rename(rf'{_HF_LAYER}\.(temporal_)?attention\.output\.dense\.(.+)', rf'{_HF_OURS}.\2attn.proj.\3'),
    Rename(rf'{_HF_LAYER}\.intermediate\.dense\.(.+)', rf'{_HF_OURS}.mlp.fc1.\2'),
    Rename(rf'{_HF_LAYER}\.output\.dense\.(.+)', rf'{_HF_OURS}.mlp.fc2.\2'),
    Rename(r'(?:timesformer\.)?layernorm\.(.+)', r'norm.\1'),
)
_OFFICIAL = (Rename(rf'(?:model\.|backbone\.)?{_BODY}', r'\1'),)
_HEAD = (Rename(r'(?:(?:model\.)?head|cls_head\.fc_cls|classifier)\.(weight|bias)', r'cls_head.fc_cls.\1'),)
_FRAMES = r'patch_embed\.proj\.weight'  # four axes: TimeSformer's patches are of single frames

SOURCES = (
    Source(
        name='timesformer',
        title='official TimeSformer',
        families=('timesformer',),
        ndim=3,
        signature={
            rf'(model\.|backbone\.)?{_FRAMES}': 4,
            r'(model\.|backbone\.)?time_embed': 3,
            r'(model\.|backbone\.)?blocks\.0\.attn\.qkv\.weight': 2,
        },
        backbone=_OFFICIAL,
        head=_HEAD,
    ),
    Source(
        name='timesformer_space',
        title='official TimeSformer, space only',
        families=('timesformer',),
        ndim=3,
        signature={
            rf'(model|backbone)\.{_FRAMES}': 4,
            r'(model|backbone)\.cls_token': 3,
            r'(model|backbone)\.blocks\.0\.attn\.qkv\.weight': 2,
        },
        absent=(r'(model|backbone)\.(time_embed|blocks\.0\.temporal_.+)',),
        backbone=_OFFICIAL,
        head=_HEAD,
    ),
    Source(
        name='mmaction_timesformer',
        title='MMAction2 1.x TimeSformer, divided',
        families=('timesformer',),
        ndim=3,
        signature={r'(backbone\.)?transformer_layers\.layers\.0\.attentions\.1\.attn\.in_proj_weight': 2},
        backbone=_DIVIDED,
        head=_HEAD,
    ),
    Source(
        name='mmaction_timesformer_joint',
        title='MMAction2 1.x TimeSformer, joint',
        families=('timesformer',),
        ndim=3,
        signature={
            r'(backbone\.)?time_embed': 3,
            r'(backbone\.)?transformer_layers\.layers\.0\.norms\.0\.weight': 1,
        },
        backbone=_PLAIN,
        head=_HEAD,
    ),
    Source(
        name='mmaction_timesformer_space',
        title='MMAction2 1.x TimeSformer, space only',
        families=('timesformer',),
        ndim=3,
        signature={r'backbone\.transformer_layers\.layers\.0\.norms\.0\.weight': 1},
        absent=(r'backbone\.time_embed',),
        backbone=_PLAIN,
        head=_HEAD,
    ),
    Source(
        name='huggingface_timesformer',
        title='transformers TimeSformer',
        families=('timesformer',),
        ndim=3,
        signature={
            r'(timesformer\.)?embeddings\.position_embeddings': 3,
            r'(timesformer\.)?encoder\.layer\.0\.attention\.attention\.qkv\.weight': 2,
        },
        backbone=_HUGGINGFACE,
        head=_HEAD,
    ),
    Source(
        name='timm_vit',
        title='timm image ViT',
        families=('timesformer', 'vivit'),
        ndim=2,
        signature={_FRAMES: 4, 'cls_token': 3, 'pos_embed': 3, r'blocks\.0\.attn\.qkv\.weight': 2},
        absent=('time_embed', r'blocks\.0\.(temporal|local|width)_.+'),
        backbone=_OFFICIAL,
        head=(Rename(r'pre_logits\..+', reason='belongs to the image classifier'), *_HEAD),
    ),
    Source(
        name='mmaction_vit',
        title="MMAction2's converted image ViT",
        families=('timesformer', 'vivit'),
        ndim=2,
        signature={'pos_embed': 3, r'transformer_layers\.layers\.0\.norms\.0\.weight': 1},
        absent=('time_embed',),
        backbone=_PLAIN,
        head=_HEAD,
    ),
)


def _pos_embed(key: str, embedding: Tensor, shape: torch.Size, context: Context) -> Converted:
    check_channels(embedding, shape)
    cls, cells = embedding[:, :1], embedding[:, 1:]
    count, grid = cells.shape[1], context.backbone.grid
    side = math.isqrt(count)
    if context.pos_interpolation == FLAT_NEAREST:
        cells = resize_time_table(cells, shape[1] - 1, 'nearest')
        how = f'{count} -> {shape[1] - 1} patches, nearest along the flattened grid'
    elif side**2 == count:
        cells = resize_space_table(cells, (side, side), grid, context.pos_interpolation)
        how = f'{(side, side)} -> {grid} patches, {context.pos_interpolation}'
    else:
        raise CheckpointError(
            f'the grid of the file is unknown, since {count} patches are not a square: set img_size to that of its '
            'training (the model resizes to other clips)'
        )
    return Converted(torch.cat([cls, cells], 1), 'resized', how)


def _time_embed(key: str, embedding: Tensor, shape: torch.Size, context: Context) -> Converted:
    check_channels(embedding, shape)
    resized, mode = resize_frames(embedding, shape[1], context)
    return Converted(resized, 'resized', f'{embedding.shape[1]} -> {shape[1]} frames, {mode}')


def _remarks(source: Source, file: Canonical, model: Any, backbone: Any) -> list[str]:
    return [*_channel_order(source, file, model), *_normalization(source, model), *_grid(source, file, backbone)]


def _channel_order(source: Source, file: Canonical, model: Any) -> list[str]:
    official = any(weight.origin.startswith('model.') for weight in file.backbone.values())
    return bgr_note(file, model) if official or source.name == 'huggingface_timesformer' else []


def _normalization(source: Source, model: Any) -> list[str]:
    """Return a note on MMAction2's models, trained with another mean and std than the official ones."""
    others = other_statistics(model, MMACTION_MEAN_STD)
    if not others or not source.name.startswith('mmaction_timesformer'):
        return []
    return [
        f'MMAction2 trained its TimeSformers with mean and std {MMACTION_MEAN_STD}, data_preprocessor has {others}: '
        f'set both to [{MMACTION_MEAN_STD}] * 3'
    ]


def _grid(source: Source, file: Canonical, backbone: Any) -> list[str]:
    embedding = file.backbone.get('pos_embed')
    if source not in SOURCES or embedding is None:
        return []
    return square_grid_note(embedding.tensor.shape[1] - 1, backbone.grid)


_ADDED = r'blocks\.(\d+)\.(?:temporal|local|width)_'
FAMILY = Family(
    name='timesformer',
    inflate='mean',
    converts=(Convert('pos_embed', _pos_embed), Convert('time_embed', _time_embed)),
    borrows=(Borrow(rf'{_ADDED}((?:attn|norm1)\..+)', r'blocks.\1.\2', 'starts from the spatial attention'),),
    keeps_init=(
        KeepInit(rf'{_ADDED}fc\..+', 'zero: the added attention starts without effect'),
        KeepInit('time_embed', 'the image model has no frames'),
        KeepInit(r'norm\d+\..+', 'published files have the norm of the last block only', images_only=False),
    ),
    surplus=(Surplus(r'norm\d*\..+', 'of a block that is not in out_indices'),),
    remarks=_remarks,
)
