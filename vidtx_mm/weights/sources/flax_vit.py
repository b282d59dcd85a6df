"""Key map of ViTs in JAX, for images and video: flax trees of scenic, and .npz files of image ViTs."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CheckpointError
from .base import Rename

# Of the first encoder of a file.
QUERY = r'(Spatial)?Transformer/encoderblock_0/MultiHeadDotProductAttention_\w+/query/kernel'


def _dense(kernel: Tensor) -> Tensor:
    return kernel.t()


def _into_heads(kernel: Tensor) -> Tensor:
    """Reshape the (dim, heads, dim / heads) kernel of a query, key or value."""
    return kernel.flatten(1).t()


def _out_of_heads(kernel: Tensor) -> Tensor:
    """Reshape the (heads, dim / heads, dim) kernel of the output projection."""
    return kernel.flatten(0, 1).t()


def _convolution(kernel: Tensor) -> Tensor:
    """Permute (*size, in, out) to (out, in, *size)."""
    return kernel.movedim((-1, -2), (0, 1))


def _encoder(theirs: str, ours: str) -> tuple[Rename, ...]:
    """Return the key map of one encoder; ``ours`` is its prefix in the backbone, '' or 'temporal_'."""
    block, renamed = rf'{theirs}/encoderblock_(\d+)', rf'{ours}blocks.\1'
    # LayerNorm_0 and _1 of scenic are _0 and _2 of the original ViT, which counts all modules of a block.
    norms = {'LayerNorm_(?:0|space)': 'norm1', 'LayerNorm_time': 'temporal_norm1', 'LayerNorm_(?:1|2|mlp)': 'norm2'}
    attentions = {r'(?:0|1|space)': 'attn', 'time': 'temporal_attn'}
    rows = [
        Rename(rf'{theirs}/posembed_input/pos_embedding', f'{ours}pos_embed'),
        Rename(rf'{theirs}/encoder_norm/scale', f'{ours}norm.weight'),
        Rename(rf'{theirs}/encoder_norm/bias', f'{ours}norm.bias'),
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
    Rename('cls(?:_SpatialTransformer)?', 'cls_token'),
    Rename('cls_TemporalTransformer', 'temporal_cls_token'),
    Rename('pos_embedding', 'pos_embed'),  # of big_vision
    Rename('embedding/kernel', 'patch_embed.proj.weight', transform=_convolution),
    Rename('embedding/bias', 'patch_embed.proj.bias'),
    *_encoder('(?:Spatial)?Transformer', ''),
    *_encoder('TemporalTransformer', 'temporal_'),
)
FLAX_HEAD = (
    Rename('pre_logits/.+', reason='belongs to the image classifier'),
    Rename('(?:output_projection|head)/kernel', 'cls_head.fc_cls.weight', transform=_dense),
    Rename('(?:output_projection|head)/bias', 'cls_head.fc_cls.bias'),
)


def _blocks(tensors: Mapping[str, Tensor], encoder: str) -> int:
    return len({key.split('/')[1] for key in tensors if re.match(rf'{encoder}/encoderblock_', key)})


def flax_args(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the arguments of ViViT that keys and shapes of a flax file imply.

    Raises:
        CheckpointError: if its encoders differ in the number of heads, which ViViT cannot have.
    """
    queries = [tensor for key, tensor in tensors.items() if key.endswith('/query/kernel')]
    heads = {tensor.shape[1] for tensor in queries if tensor.ndim == 3}
    if len(heads) != 1:
        raise CheckpointError(f'its encoders have {sorted(heads)} heads, but in ViViT all have the same number')
    args: dict[str, Any] = dict(num_heads=heads.pop(), depth=_blocks(tensors, '(Spatial)?Transformer'))
    if not any(key == 'embedding/kernel' and tensor.ndim == 5 for key, tensor in tensors.items()):
        return args
    if any(key.startswith('SpatialTransformer/') for key in tensors):
        return args | dict(attention='factorized_encoder', temporal_depth=_blocks(tensors, 'TemporalTransformer'))
    if any('/LayerNorm_time/' in key for key in tensors):
        return args | dict(attention='factorized_self_attention')
    return args | (dict(attention='joint') if 'cls' in tensors else {})  # else 'joint' or 'factorized_dot_product'
