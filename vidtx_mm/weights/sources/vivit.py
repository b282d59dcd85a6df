"""ViViT: scenic's flax files, transformers' files, and the image ViTs in JAX that it starts from.

Image ViTs in PyTorch are recognized as for TimeSformer (``timesformer.py``).
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...layers.position import resize_space_table
from ..errors import CheckpointError
from ..inflate import RANDOM
from .base import OWN, Borrow, Canonical, Convert, Converted, Family, Job, KeepInit, Rename, Source, Surplus
from .flax_vit import FLAX, QUERY, flax_attributes
from .rules import inflate_conv, other_statistics, resize_frames, square_table_note

PIXEL_CENTER = 127.5
_DOUBTS = {
    classes: f'the class order of the published ViViT files of {classes} classes is not documented: the rows were left '
    'as they are; check them against your labels before testing'
    for classes in (400, 600)
}


def _huggingface() -> tuple[Rename, ...]:
    """Published files, and the names that transformers 5 has in memory for the same parameters."""
    layer, ours = r'(?:vivit\.)?(?:encoder\.layer|layers)\.(\d+)', r'backbone.blocks.\1'
    words = (('query', 'q_proj'), ('key', 'k_proj'), ('value', 'v_proj'))
    return (
        Rename(r'(?:vivit\.)?embeddings\.cls_token', 'backbone.cls_token'),
        Rename(r'(?:vivit\.)?embeddings\.position_embeddings', 'backbone.pos_embed'),
        Rename(r'(?:vivit\.)?embeddings\.patch_embeddings\.projection\.(.+)', r'backbone.patch_embed.proj.\1'),
        Rename(rf'{layer}\.layernorm_before\.(.+)', rf'{ours}.norm1.\2'),
        Rename(rf'{layer}\.layernorm_after\.(.+)', rf'{ours}.norm2.\2'),
        *(
            Rename(rf'{layer}\.attention\.(?:attention\.{a}|{b})\.(.+)', rf'{ours}.attn.qkv.\2', part=(index, 3))
            for index, (a, b) in enumerate(words)
        ),
        Rename(rf'{layer}\.attention\.(?:output\.dense|o_proj)\.(.+)', rf'{ours}.attn.proj.\2'),
        Rename(rf'{layer}\.(?:intermediate\.dense|mlp\.fc1)\.(.+)', rf'{ours}.mlp.fc1.\2'),
        Rename(rf'{layer}\.(?:output\.dense|mlp\.fc2)\.(.+)', rf'{ours}.mlp.fc2.\2'),
        Rename(r'(?:vivit\.)?layernorm\.(.+)', r'backbone.norm.\1'),
        Rename(r'(?:vivit\.)?pooler\..+', reason='no video classifier uses it'),
        Rename(r'classifier\.(.+)', r'cls_head.fc_cls.\1'),
    )


def _huggingface_attributes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    return dict(attention='joint')


SOURCES = (
    Source(
        name='scenic_vivit',
        title='scenic ViViT',
        families=('vivit',),
        ndim=3,
        marks={'embedding/kernel': 5, QUERY: 3},
        renames=FLAX,
        order_doubts=_DOUBTS,
        tells=flax_attributes,
    ),
    Source(
        name='huggingface_vivit',
        title='transformers ViViT',
        families=('vivit',),
        ndim=3,
        marks={
            r'(vivit\.)?embeddings\.cls_token': 3,
            r'(vivit\.)?embeddings\.patch_embeddings\.projection\.weight': 5,
        },
        renames=_huggingface(),
        order_doubts=_DOUBTS,
        tells=_huggingface_attributes,
    ),
    Source(
        name='jax_vit',
        title='JAX image ViT',
        families=('vivit',),
        ndim=2,
        marks={'embedding/kernel': 4, QUERY: 3},
        renames=FLAX,
        tells=flax_attributes,
    ),
)


def _kernel(key: str, tensor: Tensor, shape: torch.Size, job: Job) -> Converted:
    if job.inflate == RANDOM:
        return Converted(tensor, 'left at init', 'random tubelets')
    return inflate_conv(key, tensor, shape, job)


def _table(key: str, table: Tensor, shape: torch.Size, job: Job) -> Converted:
    """The positions of a frame, repeated for every tubelet of a video model without its own temporal encoder; those of
    a clip, resized. An image model's table without a row for the class token gets a zero one if the model wants it."""
    backbone = job.backbone
    if table.shape[2] != shape[2]:
        raise CheckpointError(f'{table.shape[2]} channels in the file, {shape[2]} in the model (arch)')
    prefix = int('cls_token' in job.tensors)
    if not job.images and prefix != backbone.prefix:
        raise CheckpointError("only one of file and model has a class token: set pool ('avg' has none)")
    frames, *grid = _grid_of_file(table.shape[1] - prefix, job)
    wanted, target = backbone.table_grid[0], tuple(backbone.table_grid[1:])
    cells = table[:, prefix:].unflatten(1, (frames, -1))[0]
    cells = resize_space_table(cells, (grid[0], grid[1]), target, job.pos_interpolation)
    how = [f'{(frames, *grid)} -> {backbone.table_grid} tokens', job.pos_interpolation if tuple(grid) != target else '']
    if job.images:
        cells = cells.repeat(wanted, 1, 1)
        how.append(f'repeated for {wanted} tubelets' if wanted > 1 else '')
    else:
        flat, mode = resize_frames(cells.flatten(1)[None], wanted, job)
        cells = flat.unflatten(2, (-1, shape[2]))[0]
        how.append(f'{mode} in time' if frames != wanted else '')
    rows = [cells.flatten(0, 1)[None]]
    if backbone.prefix:
        rows.insert(0, table[:, :1] if prefix else table.new_zeros(1, 1, shape[2]))
    return Converted(torch.cat(rows, 1), 'inflated' if job.images else 'resized', ', '.join(filter(None, how)))


def _grid_of_file(cells: int, job: Job) -> tuple[int, int, int]:
    """The (t, h, w) of a table without class token: square in space, or as in the model; of an image, one frame."""
    frames, height, width = job.backbone.table_grid
    single = job.images or job.backbone.attention == 'factorized_encoder'
    count = 1 if single else frames
    side = math.isqrt(cells // count)
    candidates = {(count, side, side), (1 if single else cells // (height * width), height, width)}
    found = {grid for grid in candidates if math.prod(grid) == cells}
    if len(found) != 1:
        raise CheckpointError(
            f"{cells} positions do not tell the file's grid (the model's is {job.backbone.table_grid}): set num_frames "
            'and img_size to what the file was trained with (other clips are resized in the model)'
        )
    return found.pop()


def _temporal_table(key: str, table: Tensor, shape: torch.Size, job: Job) -> Converted:
    prefix = int('temporal_cls_token' in job.tensors)
    if table.shape[2] != shape[2] or prefix != job.backbone.prefix:
        raise CheckpointError(f'{tuple(table.shape)} in the file, {tuple(shape)} in the model (arch, pool)')
    tokens, mode = resize_frames(table[:, prefix:], shape[1] - prefix, job)
    how = f'{table.shape[1] - prefix} -> {shape[1] - prefix} tubelets, {mode}'
    return Converted(torch.cat([table[:, :prefix], tokens], 1), 'resized', how)


def _remarks(source: Source, file: Canonical, model: Any) -> list[str]:
    backbone = getattr(model, 'backbone', model)
    return [*_pixel_range(source, model), *_attention(source, backbone), *_grid(source, file, backbone)]


def _grid(source: Source, file: Canonical, backbone: Any) -> list[str]:
    """A note where the positions of square frames were taken, unresized, for frames of other sides."""
    table, (frames, *grid) = file.tensors.get('backbone.pos_embed'), backbone.table_grid
    if source.name == OWN or table is None or table.shape != backbone.pos_embed.shape:
        return []
    return square_table_note((table.shape[1] - backbone.prefix) // frames, grid)


def _attention(source: Source, backbone: Any) -> list[str]:
    """A note where the same weights serve two kinds of attention."""
    if source.name != 'scenic_vivit' or backbone.prefix:
        return []
    if backbone.attention == 'factorized_self_attention':
        return [
            f'the file does not show its order, and the model has {backbone.order!r}: the default '
            "of scenic is 'time_first', of the paper 'space_first'; take the one of its config"
        ]
    if backbone.attention == 'factorized_encoder':
        return []
    return [
        "the file does not show which attention it is of, 'joint' without class token or 'factorized_dot_product', "
        f'and the model has {backbone.attention!r}: take the one of its config'
    ]


def _pixel_range(source: Source, model: Any) -> list[str]:
    """A note where the preprocessor does not give the pixels / 127.5 - 1 that published weights were trained on."""
    others = other_statistics(model, PIXEL_CENTER)
    if not others or source not in SOURCES or source.ndim == 2:
        return []
    return [
        f'the published ViViT weights take pixels / 127.5 - 1, data_preprocessor has {others}: set both to [127.5] * 3'
    ]


FAMILY = Family(
    name='vivit',
    inflate='center',
    converts=(
        Convert(r'patch_embed\.proj\.weight', _kernel),
        Convert('pos_embed', _table),
        Convert('temporal_pos_embed', _temporal_table),
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
        r'blocks\.\d+\.temporal_.+': "Attention over time in every block is attention='factorized_self_attention'",
        r'temporal_.+': "A temporal encoder is attention='factorized_encoder' with temporal_depth blocks",
        'cls_token': "A model without class token has pool='avg', one with it pool='cls'",
    },
)
