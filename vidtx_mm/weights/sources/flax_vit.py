"""The one map of ViTs in JAX, image and video models alike: flax trees of scenic, and image ViTs' .npz files."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .base import Rename

# Of any encoder that may come first in a file.
QUERY = r'(Spatial)?Transformer/encoderblock_0/MultiHeadDotProductAttention_\w+/query/kernel'


def _dense(kernel: Tensor) -> Tensor:
    return kernel.t()


def _into_heads(kernel: Tensor) -> Tensor:
    """(dim, heads, dim / heads) of a query, key or value."""
    return kernel.flatten(1).t()


def _out_of_heads(kernel: Tensor) -> Tensor:
    """(heads, dim / heads, dim) of the projection behind the heads."""
    return kernel.flatten(0, 1).t()


def _convolution(kernel: Tensor) -> Tensor:
    """(*size, in, out) to (out, in, *size)."""
    return kernel.movedim((-1, -2), (0, 1))


def _encoder(theirs: str, ours: str) -> tuple[Rename, ...]:
    """The map of one encoder; ``ours`` is '' or 'temporal_', the encoder's prefix in the backbone."""
    block, renamed = rf'{theirs}/encoderblock_(\d+)', rf'backbone.{ours}blocks.\1'
    # LayerNorm_0 and _1 of scenic are _0 and _2 of the original ViT, which numbers all parts of a block in one row.
    norms = {'LayerNorm_(?:0|space)': 'norm1', 'LayerNorm_time': 'temporal_norm1', 'LayerNorm_(?:1|2|mlp)': 'norm2'}
    attentions = {r'(?:0|1|space)': 'attn', 'time': 'temporal_attn'}
    rows = [
        Rename(rf'{theirs}/posembed_input/pos_embedding', f'backbone.{ours}pos_embed'),
        Rename(rf'{theirs}/encoder_norm/scale', f'backbone.{ours}norm.weight'),
        Rename(rf'{theirs}/encoder_norm/bias', f'backbone.{ours}norm.bias'),
    ]
    for name, norm in norms.items():
        rows.append(Rename(f'{block}/{name}/scale', f'{renamed}.{norm}.weight'))
        rows.append(Rename(f'{block}/{name}/bias', f'{renamed}.{norm}.bias'))
    for name, attention in attentions.items():
        part, qkv = rf'{block}/MultiHeadDotProductAttention_{name}', f'{renamed}.{attention}.qkv'
        for index, word in enumerate(('query', 'key', 'value')):
            rows.append(Rename(f'{part}/{word}/kernel', f'{qkv}.weight', transform=_into_heads, part=(index, 3)))
            rows.append(Rename(f'{part}/{word}/bias', f'{qkv}.bias', transform=torch.flatten, part=(index, 3)))
        rows.append(Rename(f'{part}/out/kernel', f'{renamed}.{attention}.proj.weight', transform=_out_of_heads))
        rows.append(Rename(f'{part}/out/bias', f'{renamed}.{attention}.proj.bias'))
    for index, layer in enumerate(('fc1', 'fc2')):
        part = rf'{block}/MlpBlock(?:_\d)?/Dense_{index}'
        rows.append(Rename(f'{part}/kernel', f'{renamed}.mlp.{layer}.weight', transform=_dense))
        rows.append(Rename(f'{part}/bias', f'{renamed}.mlp.{layer}.bias'))
    return tuple(rows)


FLAX = (
    Rename('cls(?:_SpatialTransformer)?', 'backbone.cls_token'),
    Rename('cls_TemporalTransformer', 'backbone.temporal_cls_token'),
    Rename('pos_embedding', 'backbone.pos_embed'),  # of big_vision
    Rename('embedding/kernel', 'backbone.patch_embed.proj.weight', transform=_convolution),
    Rename('embedding/bias', 'backbone.patch_embed.proj.bias'),
    *_encoder('(?:Spatial)?Transformer', ''),
    *_encoder('TemporalTransformer', 'temporal_'),
    Rename('pre_logits/.+', reason='belongs to the image classifier'),
    Rename('(?:output_projection|head)/kernel', 'cls_head.fc_cls.weight', transform=_dense),
    Rename('(?:output_projection|head)/bias', 'cls_head.fc_cls.bias'),
)


def _blocks(tensors: Mapping[str, Tensor], encoder: str) -> int:
    return len({key.split('/')[1] for key in tensors if re.match(rf'{encoder}/encoderblock_', key)})


def flax_attributes(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The arguments of ViViT that the keys and shapes of a flax file tell, and that its keys under our names do not."""
    heads = {tensor.shape[1] for key, tensor in tensors.items() if key.endswith('/query/kernel')}
    if len(heads) != 1:
        raise CheckpointError(f'its encoders have {sorted(heads)} heads; ViViT builds all with the same number')
    told: dict[str, Any] = dict(num_heads=heads.pop(), depth=_blocks(tensors, '(Spatial)?Transformer'))
    if tensors['embedding/kernel'].ndim < 5:
        return told
    if any(key.startswith('SpatialTransformer/') for key in tensors):
        return told | dict(attention='factorized_encoder', temporal_depth=_blocks(tensors, 'TemporalTransformer'))
    if any('/LayerNorm_time/' in key for key in tensors):
        return told | dict(attention='factorized_self_attention')
    return told | (dict(attention='joint') if 'cls' in tensors else {})  # models 1 and 4 are alike but for the cls
