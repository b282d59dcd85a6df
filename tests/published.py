"""Published UniFormer checkpoints by keys and shapes, written out from the authors' layout, not by the key maps."""

from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import torch
import yaml
from protocol import SKIPPED, weight
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

METAFILES = Path(__file__).parents[1] / 'configs' / 'metafiles'
CLASSES = {
    'ImageNet-1K': 1000,
    'ImageNet-21K': 21843,
    'ImageNet-22K': 21841,
    'Kinetics-400': 400,
    'Kinetics-600': 600,
    'Kinetics-700': 700,
    'Kinetics-710': 710,
    'Something-Something V1': 174,
    'Something-Something V2': 174,
    'UCF101': 101,
    'HMDB51': 51,
    'EPIC-Kitchens-100': 397,
    'HowTo100M': 1059,
}
BUFFERS = ('running_mean', 'running_var', *SKIPPED)


def entries() -> list[dict[str, Any]]:
    """All rows of configs/metafiles."""
    return [model for path in sorted(METAFILES.glob('*.yml')) for model in yaml.safe_load(path.read_text())['Models']]


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    """Draw a file by the golden protocol along the first axis of each tensor, and repeat it along the others.

    The repetition is a view, so that files of any size cost little.
    """
    return {key: _drawn(key, shape) for key, shape in shapes.items()}


@cache
def _drawn(key: str, shape: tuple[int, ...]) -> Tensor:
    if key.endswith(SKIPPED):
        return torch.zeros((), dtype=torch.int64).expand(shape)
    row = torch.from_numpy(weight(key, shape[:1]))
    return row.view(-1, *[1] * (len(shape) - 1)).expand(shape)


def parameters(shapes: Shapes) -> int:
    """Count the parameters of a file, without its buffers."""
    return sum(prod(shape) for key, shape in shapes.items() if not key.endswith(BUFFERS))


def affine(name: str, *shape: int) -> Shapes:
    """A convolution or linear layer, (out, in, *kernel), with its bias."""
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def norm(name: str, dim: int) -> Shapes:
    return affine(name, dim)


def batch_norm(name: str, dim: int) -> Shapes:
    statistics: Shapes = {f'{name}.running_mean': (dim,), f'{name}.running_var': (dim,)}
    return norm(name, dim) | statistics | {f'{name}.num_batches_tracked': ()}


# UniFormer: depths, widths, ratio of the MLP.
UNIFORMERS: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    'S': ((3, 4, 8, 3), (64, 128, 320, 512), 4),
    'S+': ((3, 5, 9, 3), (64, 128, 320, 512), 4),
    'B': ((5, 8, 20, 7), (64, 128, 320, 512), 4),
    'L': ((5, 10, 24, 7), (128, 192, 448, 640), 4),
    'XXS': ((2, 5, 8, 2), (56, 112, 224, 448), 3),
    'XS': ((3, 5, 9, 3), (64, 128, 256, 512), 3),
}


def uniformer(size: str, ndim: int, classes: int | None, scaled: str = '', labels: bool = False) -> Shapes:
    """A UniFormer of the authors.

    Args:
        classes: None for the dense form, which has norms of stages in place of the last norm and classifier.
        scaled: the stages with layer scale, such as '34'.
        labels: with the classifier of token labeling.
    """
    depths, dims, ratio = UNIFORMERS[size]
    light, plus = size in ('XXS', 'XS'), size == 'S+'

    def conv(name: str, out: int, into: int, side: int, frames: int = 1) -> Shapes:
        return affine(name, out, into, *([frames] if ndim == 3 else []), side, side)

    shapes: Shapes = {}
    for stage, (depth, dim, before) in enumerate(zip(depths, dims, (3, *dims[:-1]), strict=True), start=1):
        embed = f'patch_embed{stage}'
        if stage == 1 and (light or plus):
            shapes |= conv(f'{embed}.proj.0', dim // 2, 3, 3, 3) | batch_norm(f'{embed}.proj.1', dim // 2)
            shapes |= conv(f'{embed}.proj.3', dim, dim // 2, 3, 3) | batch_norm(f'{embed}.proj.4', dim)
        elif plus:
            shapes |= conv(f'{embed}.proj.0', dim, before, 3, 3) | batch_norm(f'{embed}.proj.1', dim)
        else:
            shapes |= conv(f'{embed}.proj', dim, before, *((4, 3) if stage == 1 else (2, 1)))
            shapes |= norm(f'{embed}.norm', dim)
        for block in (f'blocks{stage}.{index}' for index in range(depth)):
            shapes |= conv(f'{block}.pos_embed', dim, 1, 3, 3)
            if stage < 3:
                shapes |= batch_norm(f'{block}.norm1', dim) | batch_norm(f'{block}.norm2', dim)
                shapes |= conv(f'{block}.conv1', dim, dim, 1) | conv(f'{block}.conv2', dim, dim, 1)
                shapes |= conv(f'{block}.attn', dim, 1, 5, 5)
                shapes |= conv(f'{block}.mlp.fc1', ratio * dim, dim, 1) | conv(f'{block}.mlp.fc2', dim, ratio * dim, 1)
            else:
                shapes |= norm(f'{block}.norm1', dim) | norm(f'{block}.norm2', dim)
                shapes |= affine(f'{block}.attn.qkv', 3 * dim, dim) | affine(f'{block}.attn.proj', dim, dim)
                shapes |= affine(f'{block}.mlp.fc1', ratio * dim, dim) | affine(f'{block}.mlp.fc2', dim, ratio * dim)
            if str(stage) in scaled:
                shape = (1, dim, *[1] * ndim) if stage < 3 else (dim,)
                shapes |= {f'{block}.gamma_1': shape, f'{block}.gamma_2': shape}
    if light:
        shapes |= {'cls_token': (1, 1, dims[2])} | affine('cls_upsample', dims[3], dims[2])
    if classes is None:
        return shapes | {key: shape for i, dim in enumerate(dims, 1) for key, shape in norm(f'norm{i}', dim).items()}
    shapes |= batch_norm('norm', dims[3]) | affine('head', classes, dims[3])
    if light:
        shapes |= norm('norm_cls', dims[3]) | affine('head_cls', classes, dims[3])
    return shapes | (affine('aux_head', classes, dims[3]) if labels else {})
