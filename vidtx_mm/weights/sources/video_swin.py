"""Video Swin: its published checkpoints, and Microsoft's 2-D Swin that it starts from."""

import math

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..inflate import inflate_bias_table, resize_bias_table
from .base import Convert, Converted, Family, Job, KeepInit, Rename, Source, Surplus
from .rules import inflate_conv

_TABLE = r'layers\.0\.blocks\.0\.attn\.relative_position_bias_table'
_HEAD = Rename(r'(?:cls_head\.fc_cls|head)\.(weight|bias)', r'cls_head.fc_cls.\1')
_BODY = Rename(r'(?:backbone\.)?((?:patch_embed|layers|temporal|norm\d?)\..+)', r'backbone.\1')


def _torchvision(stage: int) -> tuple[Rename, ...]:
    theirs, ours = rf'features\.{2 * stage}\.(\d+)', rf'backbone.layers.{stage}.blocks.\1'
    return (
        Rename(rf'{theirs}\.((?:norm1|norm2|attn)\..+)', rf'{ours}.\2'),
        Rename(rf'{theirs}\.mlp\.0\.(.+)', rf'{ours}.mlp.fc1.\2'),
        Rename(rf'{theirs}\.mlp\.3\.(.+)', rf'{ours}.mlp.fc2.\2'),
        Rename(rf'features\.{2 * stage + 1}\.(.+)', rf'backbone.layers.{stage}.downsample.\1'),
    )


SOURCES = (
    Source(
        name='microsoft_swin',
        title='Microsoft 2-D Swin',
        families=('video_swin',),
        ndim=2,
        marks={r'patch_embed\.proj\.weight': 4, _TABLE: 2, r'layers\.0\.downsample\..*': 2},
        absent=(r'.*\.logit_scale',),
        renames=(Rename(r'.*\.attn_mask', reason='computed by the model'), _HEAD, _BODY),
    ),
    Source(
        name='video_swin',
        title='official Video Swin',
        families=('video_swin',),
        ndim=3,
        marks={r'(backbone\.)?patch_embed\.proj\.weight': 5, rf'(backbone\.)?{_TABLE}': 2},
        absent=(r'(backbone\.)?norm3\..*',),
        renames=(_HEAD, _BODY),
    ),
    Source(
        name='mmaction_swin',
        title='MMAction2 1.x Video Swin',
        families=('video_swin',),
        ndim=3,
        marks={r'(backbone\.)?norm3\.weight': 1, rf'(backbone\.)?{_TABLE}': 2},
        renames=(Rename(r'(?:backbone\.)?norm3\.(.+)', r'backbone.norm.\1'), _HEAD, _BODY),
    ),
    Source(
        name='torchvision_swin3d',
        title='torchvision swin3d',
        families=('video_swin',),
        ndim=3,
        marks={r'patch_embed\.proj\.weight': 5, r'features\.0\.0\.attn\.relative_position_bias_table': 2},
        renames=(*_torchvision(0), *_torchvision(1), *_torchvision(2), *_torchvision(3), _HEAD, _BODY),
    ),
)


def _window_of_model(key: str, job: Job) -> tuple[int, int, int]:
    frames, height, width = job.backbone.window_size
    if 'temporal' in key:
        return frames, 1, 1
    return (frames if job.backbone.attention == 'joint' else 1), height, width


def _window_of_file(key: str, table: Tensor, target: tuple[int, int, int], job: Job) -> tuple[int, int, int]:
    """The (t, h, w) window of a bias table, from its rows and, where the file has it, the index of its N x N pairs.

    Windows are taken as square in space. Where several have that number of rows, the one counts that agrees with the
    model in time or in space.
    """
    rows = table.shape[0]
    if 'temporal' in key:
        return (rows + 1) // 2, 1, 1
    found = []
    for size in range(2, (math.isqrt(rows) + 1) // 2 + 1):
        offsets, rest = divmod(rows, (2 * size - 1) ** 2)
        if rest == 0 and offsets % 2:
            found.append(((offsets + 1) // 2, size, size))
    if job.tensors['patch_embed.proj.weight'].ndim == 4:
        found = [window for window in found if window[0] == 1]
    index = job.tensors.get(key.replace('bias_table', 'index'))
    if index is not None:
        found = [window for window in found if math.prod(window) == index.shape[0]]
    if len(found) > 1:
        found = [window for window in found if window[0] == target[0] or window[1:] == target[1:]]
    if len(found) != 1:
        raise CheckpointError(
            f"{rows} relative positions do not tell the file's window ({found or 'none is square in space'}); set the "
            "model's window_size to the one that the file was trained with"
        )
    return found[0]


def _bias_table(key: str, table: Tensor, shape: torch.Size, job: Job) -> Converted:
    if table.shape[1] != shape[1]:
        raise CheckpointError(f'{table.shape[1]} heads in the file, {shape[1]} in the model (arch)')
    target = _window_of_model(key, job)
    window = _window_of_file(key, table, target, job)
    resized = f'{job.pos_interpolation} in space' if window[1:] != target[1:] else ''
    if window[0] == 1 and target[0] > 1:
        how = [f'window {window[1:]} -> {target}', resized, f'repeated for {2 * target[0] - 1} offsets in time']
        new = inflate_bias_table(table, window[1:], target, job.pos_interpolation)
        return Converted(new, 'inflated', ', '.join(filter(None, how)))
    how = [f'window {window} -> {target}', resized, 'linear in time' if window[0] != target[0] else '']
    new = resize_bias_table(table, window, target, job.pos_interpolation)
    return Converted(new, 'resized', ', '.join(filter(None, how)))


FAMILY = Family(
    name='video_swin',
    inflate='mean',
    derived=(r'.*\.relative_position_index',),
    converts=(
        Convert(r'patch_embed\.proj\.weight', inflate_conv),
        Convert(r'.*\.relative_position_bias_table', _bias_table),
    ),
    keeps_init=(
        KeepInit(r'norm\d\..*', 'published files have the norm of the last stage only', images_only=False),
        KeepInit(r'temporal\..*|layers\..*\.temporal_(attn|norm|scale).*', 'the 2-D model has no attention over time'),
    ),
    surplus=(Surplus(r'norm\d?\..*', 'of a stage that is not in out_indices'),),
)
