"""Video Swin: published checkpoints, and Microsoft's 2-D Swin for inflation."""

import math

import torch
from torch import Tensor

from ..errors import CheckpointError
from ..inflate import inflate_bias_table, resize_bias_table
from .base import Context, Convert, Converted, Family, KeepInit, Rename, Source, Surplus
from .rules import inflate_conv

_TABLE = r'layers\.0\.blocks\.0\.attn\.relative_position_bias_table'
_HEAD = Rename(r'(?:cls_head\.fc_cls|head)\.(weight|bias)', r'cls_head.fc_cls.\1')
_BODY = Rename(r'(?:backbone\.)?((?:patch_embed|layers|temporal|norm\d?)\..+)', r'\1')


def _torchvision(stage: int) -> tuple[Rename, ...]:
    theirs, ours = rf'features\.{2 * stage}\.(\d+)', rf'layers.{stage}.blocks.\1'
    return (
        Rename(rf'{theirs}\.((?:norm1|norm2|attn)\..+)', rf'{ours}.\2'),
        Rename(rf'{theirs}\.mlp\.0\.(.+)', rf'{ours}.mlp.fc1.\2'),
        Rename(rf'{theirs}\.mlp\.3\.(.+)', rf'{ours}.mlp.fc2.\2'),
        Rename(rf'features\.{2 * stage + 1}\.(.+)', rf'layers.{stage}.downsample.\1'),
    )


SOURCES = (
    Source(
        name='microsoft_swin',
        title='Microsoft 2-D Swin',
        families=('video_swin',),
        ndim=2,
        signature={r'patch_embed\.proj\.weight': 4, _TABLE: 2, r'layers\.0\.downsample\..*': 2},
        absent=(r'.*\.logit_scale',),
        backbone=(Rename(r'.*\.attn_mask', reason='computed by the model'), _BODY),
        head=(_HEAD,),
    ),
    Source(
        name='video_swin',
        title='official Video Swin',
        families=('video_swin',),
        ndim=3,
        signature={r'(backbone\.)?patch_embed\.proj\.weight': 5, rf'(backbone\.)?{_TABLE}': 2},
        absent=(r'(backbone\.)?norm3\..*',),
        backbone=(_BODY,),
        head=(_HEAD,),
    ),
    Source(
        name='mmaction_swin',
        title='MMAction2 1.x Video Swin',
        families=('video_swin',),
        ndim=3,
        signature={r'(backbone\.)?norm3\.weight': 1, rf'(backbone\.)?{_TABLE}': 2},
        backbone=(Rename(r'(?:backbone\.)?norm3\.(.+)', r'norm.\1'), _BODY),
        head=(_HEAD,),
    ),
    Source(
        name='torchvision_swin3d',
        title='torchvision swin3d',
        families=('video_swin',),
        ndim=3,
        signature={r'patch_embed\.proj\.weight': 5, r'features\.0\.0\.attn\.relative_position_bias_table': 2},
        backbone=(*_torchvision(0), *_torchvision(1), *_torchvision(2), *_torchvision(3), _BODY),
        head=(_HEAD,),
    ),
)


def _window_of_model(key: str, context: Context) -> tuple[int, int, int]:
    frames, height, width = context.backbone.window_size
    if 'temporal' in key:
        return frames, 1, 1
    return (frames if context.backbone.attention == 'joint' else 1), height, width


def _window_of_file(key: str, table: Tensor, target: tuple[int, int, int], context: Context) -> tuple[int, int, int]:
    """Return the (t, h, w) window of a relative position bias table.

    It follows from the number of rows and, where the file has it, the index of N x N pairs of tokens. Windows are
    assumed to be square in space. Among several candidates, take the one that agrees with the model in time or space.
    """
    rows = table.shape[0]
    if 'temporal' in key:
        return (rows + 1) // 2, 1, 1
    found = []
    for size in range(2, (math.isqrt(rows) + 1) // 2 + 1):
        offsets, rest = divmod(rows, (2 * size - 1) ** 2)
        if rest == 0 and offsets % 2:
            found.append(((offsets + 1) // 2, size, size))
    if context.images:
        found = [window for window in found if window[0] == 1]
    index = context.weights.get(key.replace('bias_table', 'index'))
    if index is not None:
        found = [window for window in found if math.prod(window) == math.isqrt(index.tensor.numel())]
    if len(found) > 1:
        found = [window for window in found if window[0] == target[0] or window[1:] == target[1:]]
    if len(found) != 1:
        raise CheckpointError(
            f"the file's window does not follow from {rows} relative positions ({found or 'none is square in space'}): "
            "set window_size to that of the file's training"
        )
    return found[0]


def _bias_table(key: str, table: Tensor, shape: torch.Size, context: Context) -> Converted:
    if table.shape[1:] != shape[1:]:
        raise CheckpointError(f'{table.shape[-1]} heads in the file, {shape[1]} in the model (arch)')
    target = _window_of_model(key, context)
    window = _window_of_file(key, table, target, context)
    resized = f'{context.pos_interpolation} in space' if window[1:] != target[1:] else ''
    if window[0] == 1 and target[0] > 1:
        how = [f'window {window[1:]} -> {target}', resized, f'repeated for {2 * target[0] - 1} offsets in time']
        new = inflate_bias_table(table, window[1:], target, context.pos_interpolation)
        return Converted(new, 'inflated', ', '.join(filter(None, how)))
    how = [f'window {window} -> {target}', resized, 'linear in time' if window[0] != target[0] else '']
    new = resize_bias_table(table, window, target, context.pos_interpolation)
    return Converted(new, 'resized', ', '.join(filter(None, how)))


FAMILY = Family(
    name='video_swin',
    inflate='mean',
    derived=(r'.*\.relative_position_index',),
    converts=(
        Convert(r'patch_embed\.proj\.weight', inflate_conv, adds_axis=True),
        Convert(r'.*\.relative_position_bias_table', _bias_table),
    ),
    keeps_init=(
        KeepInit(r'norm\d\..*', 'published files have the norm of the last stage only', images_only=False),
        KeepInit(r'temporal\..*|layers\..*\.temporal_(attn|norm|scale).*', 'the 2-D model has no attention over time'),
    ),
    surplus=(Surplus(r'norm\d?\..*', 'of a stage that is not in out_indices'),),
)
