"""Small ViViT and ViT checkpoints in the published forms, written out from the key lists, not by the shipped maps."""

import re

import numpy as np
import torch

from vidtx_mm.backbones import ViViT

TINY = dict(arch=dict(embed_dims=16, depth=2, num_heads=2), tubelet_size=(2, 4, 4), num_frames=8, img_size=16)
CLASSES = 5


def vivit(seed=0, **kwargs):
    """A model in which no weight equals another or an initialization."""
    model = ViViT(**{**TINY, **kwargs}).eval()
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3, generator=generator)
    return model


def image_vit(seed=1, **kwargs):
    """An image ViT with timm's keys: ViViT's spatial encoder on single frames."""
    alone = dict(attention='factorized_encoder', temporal_depth=0, tokens='uniform', tubelet_size=(1, 4, 4))
    return vivit(seed, **alone, num_frames=1, **kwargs)


def with_head(weights, name, seed=2):
    """A state dict and a linear layer ``name`` of CLASSES outputs."""
    generator = torch.Generator().manual_seed(seed)
    head = {'weight': torch.randn(CLASSES, 16, generator=generator), 'bias': torch.randn(CLASSES, generator=generator)}
    return {**weights, **{f'{name}.{key}': value for key, value in head.items()}}


SCENIC = dict(norm1='LayerNorm_0', norm2='LayerNorm_1', attn='MultiHeadDotProductAttention_0', mlp='MlpBlock_0')
ORIGINAL = dict(norm1='LayerNorm_0', norm2='LayerNorm_2', attn='MultiHeadDotProductAttention_1', mlp='MlpBlock_3')
FACTORIZED = dict(
    norm1='LayerNorm_space',
    temporal_norm1='LayerNorm_time',
    norm2='LayerNorm_mlp',
    attn='MultiHeadDotProductAttention_space',
    temporal_attn='MultiHeadDotProductAttention_time',
    mlp='MlpBlock',
)


def flax(weights, parts=None, spatial='Transformer', head='output_projection', heads=2):
    """{path: array} of a flax tree.

    Args:
        weights: under our keys of a backbone, and ``head.*``.
        parts: names of a block's parts.
        spatial: the name of the (first) encoder.
    """
    parts = parts or SCENIC
    cls = {'Transformer': 'cls', 'SpatialTransformer': 'cls_SpatialTransformer'}[spatial]
    top = {
        'cls_token': cls,
        'temporal_cls_token': 'cls_TemporalTransformer',
        'pos_embed': f'{spatial}/posembed_input/pos_embedding',
        'temporal_pos_embed': 'TemporalTransformer/posembed_input/pos_embedding',
    }
    tree = {}
    for key, tensor in weights.items():
        x, (*path, leaf) = tensor.numpy(), key.split('.')
        if key in top:
            tree[top[key]] = x
        elif path[0] == 'patch_embed':
            tree[f'embedding/{"kernel" if x.ndim > 1 else "bias"}'] = (
                np.moveaxis(x, (0, 1), (-1, -2)) if x.ndim > 1 else x
            )
        elif path[0] == 'head':
            tree[f'{head}/{"kernel" if x.ndim > 1 else "bias"}'] = x.T
        elif path[0] in ('norm', 'temporal_norm'):
            encoder = 'TemporalTransformer' if 'temporal' in path[0] else spatial
            tree[f'{encoder}/encoder_norm/{"scale" if leaf == "weight" else "bias"}'] = x
        else:
            encoder = 'TemporalTransformer' if 'temporal' in path[0] else spatial
            tree |= {f'{encoder}/encoderblock_{path[1]}/{k}': v for k, v in _part(path[2:], leaf, x, parts, heads)}
    return {key: np.ascontiguousarray(value) for key, value in tree.items()}


def _part(path, leaf, x, parts, heads):
    name, kind = parts[path[0]], {'weight': 'kernel', 'bias': 'bias'}[leaf]
    if 'norm' in path[0]:
        yield f'{name}/{"scale" if leaf == "weight" else "bias"}', x
    elif path[0] == 'mlp':
        yield f'{name}/Dense_{int(path[1][-1]) - 1}/{kind}', x.T
    elif path[1] == 'qkv':
        for word, piece in zip(('query', 'key', 'value'), np.split(x, 3), strict=True):
            yield f'{name}/{word}/{kind}', piece.T.reshape(*piece.shape[1:], heads, -1)
    else:
        yield f'{name}/out/{kind}', x.T.reshape(heads, -1, x.shape[0]) if x.ndim > 1 else x


def nested(flat):
    """{'a/b': x} as {'a': {'b': x}}."""
    tree = {}
    for path, value in flat.items():
        *parents, leaf = path.split('/')
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def mmaction_vit(weights):
    """MMAction2's names of an image ViT (its converted file)."""
    names = {
        r'patch_embed\.proj': 'patch_embed.projection',
        r'blocks\.(\d+)\.attn\.qkv\.': r'transformer_layers.layers.\1.attentions.0.attn.in_proj_',
        r'blocks\.(\d+)\.attn\.proj': r'transformer_layers.layers.\1.attentions.0.attn.out_proj',
        r'blocks\.(\d+)\.norm1': r'transformer_layers.layers.\1.norms.0',
        r'blocks\.(\d+)\.norm2': r'transformer_layers.layers.\1.norms.1',
        r'blocks\.(\d+)\.mlp\.fc1': r'transformer_layers.layers.\1.ffns.0.layers.0.0',
        r'blocks\.(\d+)\.mlp\.fc2': r'transformer_layers.layers.\1.ffns.0.layers.1',
    }
    renamed = {}
    for key, value in weights.items():
        for theirs, ours in names.items():
            key = re.sub(theirs, ours, key)
        renamed[key] = value
    return renamed
