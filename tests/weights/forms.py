"""Small Swin checkpoints in the published forms, written out from the key lists and not through the shipped maps."""

import re

import torch

from vidtx_mm.backbones import VideoSwin

TINY = dict(arch=dict(embed_dims=8, depths=(1, 1, 2, 1), num_heads=(2, 2, 2, 4)), window_size=(2, 3, 3))
CLASSES = 5


def video_swin(**kwargs):
    return VideoSwin(**{**TINY, **kwargs})


def official(backbone, classes=CLASSES, seed=1):
    """A recognizer's state dict with index buffers, as the official code saves it."""
    generator = torch.Generator().manual_seed(seed)
    weights = {f'backbone.{key}': value.clone() for key, value in backbone.state_dict().items()}
    n = backbone.window_size[0] * backbone.window_size[1] * backbone.window_size[2]
    for key in [key for key in weights if key.endswith('bias_table')]:
        weights[key.replace('bias_table', 'index')] = torch.zeros(n, n, dtype=torch.int64)
    weights['cls_head.fc_cls.weight'] = torch.randn(classes, backbone.out_channels[-1], generator=generator)
    weights['cls_head.fc_cls.bias'] = torch.randn(classes, generator=generator)
    return weights


def mmaction(weights):
    return {key.replace('backbone.norm.', 'backbone.norm3.'): value for key, value in weights.items()}


def torchvision(weights):
    renamed = {}
    for key, value in weights.items():
        parts = key.removeprefix('backbone.').split('.')
        if parts[0] == 'layers' and parts[2] == 'blocks':
            parts = ['features', str(2 * int(parts[1])), *parts[3:]]
            if parts[3] == 'mlp':
                parts[4] = {'fc1': '0', 'fc2': '3'}[parts[4]]
        elif parts[0] == 'layers':
            parts = ['features', str(2 * int(parts[1]) + 1), *parts[3:]]
        elif parts[0] == 'cls_head':
            parts = ['head', parts[-1]]
        renamed['.'.join(parts)] = value
    return renamed


def microsoft(backbone, window=3, classes=7, seed=2):
    """The state dict of a 2-D Swin with the widths and depths of ``backbone``, all of it random."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for key, value in backbone.state_dict().items():
        shape = list(value.shape)
        if key.endswith('bias_table'):
            shape[0] = (2 * window - 1) ** 2
        if key == 'patch_embed.proj.weight':
            del shape[2]
        weights[key] = torch.randn(shape, generator=generator)
        if key.endswith('bias_table'):
            weights[key.replace('bias_table', 'index')] = torch.zeros(window**2, window**2, dtype=torch.int64)
    weights['layers.2.blocks.1.attn_mask'] = torch.zeros(4, window**2, window**2)
    weights['head.weight'] = torch.randn(classes, backbone.out_channels[-1], generator=generator)
    weights['head.bias'] = torch.randn(classes, generator=generator)
    return weights


def listed(path):
    """A key list: {key: shape}."""
    rows = [line.split('\t') for line in path.read_text().splitlines() if line and not line.startswith('#')]
    return {key: tuple(map(int, re.findall(r'\d+', shape))) for key, shape in rows}
