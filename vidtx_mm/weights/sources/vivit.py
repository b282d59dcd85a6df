"""ViViT: scenic's flax files, transformers' files, and image ViTs in JAX for inflation.

Image ViTs in PyTorch are the same sources as for TimeSformer (``timesformer.py``).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...layers.position import resize_space_table
from ..errors import CheckpointError
from ..inflate import RANDOM
from .base import OWN, Borrow, Canonical, Context, Convert, Converted, Family, KeepInit, Rename, Source, Surplus
from .flax_vit import FLAX, FLAX_HEAD, QUERY, flax_args
from .rules import check_channels, inflate_conv, other_statistics, resize_frames, square_grid_note

PIXEL_CENTER = 127.5
_DOUBTS = {
    classes: f'the class order of the published ViViT files of {classes} classes is not documented: the rows were left '
    'as they are; check them against your labels before testing'
    for classes in (400, 600)
}


def _huggingface() -> tuple[Rename, ...]:
    """Return the key map of published files, and of the names of transformers 5 in memory."""
    layer, ours = r'(?:vivit\.)?(?:encoder\.layer|layers)\.(\d+)', r'blocks.\1'
    words = (('query', 'q_proj'), ('key', 'k_proj'), ('value', 'v_proj'))
    return (
        Rename(r'(?:vivit\.)?embeddings\.cls_token', 'cls_token'),
        Rename(r'(?:vivit\.)?embeddings\.position_embeddings', 'pos_embed'),
        Rename(r'(?:vivit\.)?embeddings\.patch_embeddings\.projection\.(.+)', r'patch_embed.proj.\1'),
        Rename(rf'{layer}\.layernorm_before\.(.+)', rf'{ours}.norm1.\2'),
        Rename(rf'{layer}\.layernorm_after\.(.+)', rf'{ours}.norm2.\2'),
        *(
            Rename(rf'{layer}\.attention\.(?:attention\.{a}|{b})\.(.+)', rf'{ours}.attn.qkv.\2', part=(index, 3))
            for index, (a, b) in enumerate(words)
        ),
        Rename(rf'{layer}\.attention\.(?:output\.dense|o_proj)\.(.+)', rf'{ours}.attn.proj.\2'),
        Rename(rf'{layer}\.(?:intermediate\.dense|mlp\.fc1)\.(.+)', rf'{ours}.mlp.fc1.\2'),
        Rename(rf'{layer}\.(?:output\.dense|mlp\.fc2)\.(.+)', rf'{ours}.mlp.fc2.\2'),
        Rename(r'(?:vivit\.)?layernorm\.(.+)', r'norm.\1'),
    )


_HUGGINGFACE_HEAD = (
    Rename(r'(?:vivit\.)?pooler\..+', reason='not used for classification'),
    Rename(r'classifier\.(.+)', r'cls_head.fc_cls.\1'),
)


def _huggingface_args(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(attention='joint')


SOURCES = (
    Source(
        name='scenic_vivit',
        title='scenic ViViT',
        families=('vivit',),
        ndim=3,
        signature={'embedding/kernel': 5, QUERY: 3},
        backbone=FLAX,
        head=FLAX_HEAD,
        order_doubts=_DOUBTS,
        implied_args=flax_args,
    ),
    Source(
        name='huggingface_vivit',
        title='transformers ViViT',
        families=('vivit',),
        ndim=3,
        signature={
            r'(vivit\.)?embeddings\.cls_token': 3,
            r'(vivit\.)?embeddings\.patch_embeddings\.projection\.weight': 5,
        },
        backbone=_huggingface(),
        head=_HUGGINGFACE_HEAD,
        order_doubts=_DOUBTS,
        implied_args=_huggingface_args,
    ),
    Source(
        name='jax_vit',
        title='JAX image ViT',
        families=('vivit',),
        ndim=2,
        signature={'embedding/kernel': 4, QUERY: 3},
        backbone=FLAX,
        head=FLAX_HEAD,
        implied_args=flax_args,
    ),
)


def _kernel(key: str, tensor: Tensor, shape: torch.Size, context: Context) -> Converted:
    if context.inflate == RANDOM:
        return Converted(tensor, 'left at init', 'random tubelets')
    return inflate_conv(key, tensor, shape, context)


def _pos_embed(key: str, embedding: Tensor, shape: torch.Size, context: Context) -> Converted:
    """Resize the positions of a clip, or repeat those of an image for every tubelet.

    A zero row is added for a class token that only the model has.
    """
    check_channels(embedding, shape)
    backbone = context.backbone
    prefix = int('cls_token' in context.weights)
    if not context.images and prefix != backbone.prefix:
        raise CheckpointError("either the file or the model has no class token: set pool ('avg' has none)")
    frames, *grid = _grid_of_file(embedding.shape[1] - prefix, context)
    wanted, target = backbone.table_grid[0], tuple(backbone.table_grid[1:])
    cells = embedding[:, prefix:].unflatten(1, (frames, -1))[0]
    cells = resize_space_table(cells, (grid[0], grid[1]), target, context.pos_interpolation)
    mode = context.pos_interpolation if tuple(grid) != target else ''
    how = [f'{(frames, *grid)} -> {backbone.table_grid} tokens', mode]
    if context.images:
        cells = cells.repeat(wanted, 1, 1)
        how.append(f'repeated for {wanted} tubelets' if wanted > 1 else '')
    else:
        flat, mode = resize_frames(cells.flatten(1)[None], wanted, context)
        cells = flat.unflatten(2, (-1, shape[2]))[0]
        how.append(f'{mode} in time' if frames != wanted else '')
    rows = [cells.flatten(0, 1)[None]]
    if backbone.prefix:
        rows.insert(0, embedding[:, :1] if prefix else embedding.new_zeros(1, 1, shape[2]))
    return Converted(torch.cat(rows, 1), 'inflated' if context.images else 'resized', ', '.join(filter(None, how)))


def _grid_of_file(cells: int, context: Context) -> tuple[int, int, int]:
    """Return the (t, h, w) grid of a position embedding without class token: square in space, or like the model's."""
    frames, height, width = context.backbone.table_grid
    single = context.images or context.backbone.attention == 'factorized_encoder'
    count = 1 if single else frames
    side = math.isqrt(cells // count)
    candidates = {(count, side, side), (1 if single else cells // (height * width), height, width)}
    found = {grid for grid in candidates if math.prod(grid) == cells}
    if len(found) != 1:
        raise CheckpointError(
            f"the file's grid does not follow from {cells} positions (the model's is {context.backbone.table_grid}): "
            "set num_frames and img_size to those of the file's training (the model resizes to other clips)"
        )
    return found.pop()


def _temporal_pos_embed(key: str, embedding: Tensor, shape: torch.Size, context: Context) -> Converted:
    check_channels(embedding, shape)
    prefix = int('temporal_cls_token' in context.weights)
    if prefix != context.backbone.prefix:
        raise CheckpointError("either the file or the model has no temporal class token: set pool ('avg' has none)")
    tokens, mode = resize_frames(embedding[:, prefix:], shape[1] - prefix, context)
    detail = f'{embedding.shape[1] - prefix} -> {shape[1] - prefix} tubelets, {mode}'
    return Converted(torch.cat([embedding[:, :prefix], tokens], 1), 'resized', detail)


def _remarks(source: Source, file: Canonical, model: Any, backbone: Any) -> list[str]:
    return [*_pixel_range(source, model), *_attention(source, backbone), *_grid(source, file, backbone)]


def _grid(source: Source, file: Canonical, backbone: Any) -> list[str]:
    """Return a note where the positions of square frames were loaded, unresized, for frames of other sides."""
    embedding, (frames, *grid) = file.backbone.get('pos_embed'), backbone.table_grid
    if source.name == OWN or embedding is None or embedding.tensor.shape != backbone.pos_embed.shape:
        return []
    return square_grid_note((embedding.tensor.shape[1] - backbone.prefix) // frames, grid)


def _attention(source: Source, backbone: Any) -> list[str]:
    """Return a note where the same weights fit two kinds of attention."""
    if source.name != 'scenic_vivit' or backbone.prefix:
        return []
    if backbone.attention == 'factorized_self_attention':
        return [
            f"the file does not show its order, the model has {backbone.order!r}: scenic's default is 'time_first', "
            "the paper's 'space_first'; set that of the file's config"
        ]
    if backbone.attention == 'factorized_encoder':
        return []
    return [
        "the file does not show its attention, 'joint' without class token or 'factorized_dot_product', and the model "
        f"has {backbone.attention!r}: set that of the file's config"
    ]


def _pixel_range(source: Source, model: Any) -> list[str]:
    """Return a note where the preprocessor does not give pixels / 127.5 - 1, as in the training of published files."""
    others = other_statistics(model, PIXEL_CENTER)
    if not others or source not in SOURCES or source.ndim == 2:
        return []
    return [
        f'published ViViT weights expect pixels / 127.5 - 1, data_preprocessor has {others}: set both to [127.5] * 3'
    ]


FAMILY = Family(
    name='vivit',
    inflate='center',
    converts=(
        Convert(r'patch_embed\.proj\.weight', _kernel, adds_axis=True),
        Convert('pos_embed', _pos_embed),
        Convert('temporal_pos_embed', _temporal_pos_embed),
    ),
    borrows=(
        Borrow(r'blocks\.(\d+)\.temporal_attn\.(qkv\..+)', r'blocks.\1.attn.\2', 'starts from the spatial attention'),
        Borrow(r'blocks\.(\d+)\.temporal_norm1\.(.+)', r'blocks.\1.norm1.\2', 'starts from the spatial attention'),
    ),
    keeps_init=(
        KeepInit(r'blocks\.\d+\.temporal_attn\.proj\..+', 'zero: attention over time starts without effect'),
        KeepInit(r'temporal_(cls_token|pos_embed|norm\..+|blocks\..+)', 'the image model has no temporal encoder'),
        KeepInit('cls_token', 'the image model has none'),
        KeepInit(r'norm\d+\..+', "published files have the encoders' last norms only", images_only=False),
    ),
    surplus=(
        Surplus('cls_token', 'the model has none', images_only=True),
        Surplus(r'(temporal_)?norm\d*\..+', 'of a block that is not in out_indices'),
    ),
    remarks=_remarks,
    advice={
        r'blocks\.\d+\.temporal_.+': "Blocks with attention over time are attention='factorized_self_attention'",
        r'temporal_.+': "A temporal encoder is attention='factorized_encoder' with temporal_depth blocks",
        'cls_token': "A model without class token has pool='avg', one with it pool='cls'",
    },
)
