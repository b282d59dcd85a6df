"""Published Swin, TimeSformer and ViT checkpoints by keys and shapes, written out from the publishers' layouts."""

from math import prod
from pathlib import Path

from forms import listed
from published import Shapes, affine, norm

KEYS = Path(__file__).parents[1] / 'goldens' / 'keys'

# Swin: depths, width, heads of the first stage.
SWINS = {'T': ((2, 2, 6, 2), 96, 3), 'S': ((2, 2, 18, 2), 96, 3), 'B': ((2, 2, 18, 2), 128, 4)}
SWINS['L'] = ((2, 2, 18, 2), 192, 6)


def swin(size: str, window: tuple[int, ...], classes: int) -> Shapes:
    """A Swin of Microsoft: ``window`` has two sides for images and three for video."""
    depths, width, heads = SWINS[size]
    patch = (2, 4, 4) if len(window) == 3 else (4, 4)
    positions, tokens = prod(2 * side - 1 for side in window), prod(window)
    shapes = affine('patch_embed.proj', width, 3, *patch) | norm('patch_embed.norm', width)
    for stage, depth in enumerate(depths):
        dim = width * 2**stage
        for index in range(depth):
            block = f'layers.{stage}.blocks.{index}'
            shapes |= norm(f'{block}.norm1', dim) | norm(f'{block}.norm2', dim)
            shapes[f'{block}.attn.relative_position_bias_table'] = (positions, heads * 2**stage)
            shapes[f'{block}.attn.relative_position_index'] = (tokens, tokens)
            shapes |= affine(f'{block}.attn.qkv', 3 * dim, dim) | affine(f'{block}.attn.proj', dim, dim)
            shapes |= affine(f'{block}.mlp.fc1', 4 * dim, dim) | affine(f'{block}.mlp.fc2', dim, 4 * dim)
        if stage < 3:
            shapes |= {f'layers.{stage}.downsample.reduction.weight': (2 * dim, 4 * dim)}
            shapes |= norm(f'layers.{stage}.downsample.norm', 4 * dim)
    shapes |= norm('norm', 8 * width) | affine('head', classes, 8 * width)
    if len(window) == 2:
        return shapes
    return {
        key.replace('head.', 'cls_head.fc_cls.') if key.startswith('head.') else f'backbone.{key}': shape
        for key, shape in shapes.items()
    }


def flax_vit(
    size: str, tubelet: tuple[int, ...], classes: int, tokens: int, temporal: int = 0, original: bool = False
) -> Shapes:
    """A ViT or ViViT in JAX, of ``tokens`` positions, with ``temporal`` layers in a second encoder."""
    depth, dim, heads = {'B': (12, 768, 12), 'L': (24, 1024, 16)}[size]
    first = 'SpatialTransformer' if temporal else 'Transformer'
    encoders = {first: (depth, tokens)} | ({'TemporalTransformer': (temporal, 17)} if temporal else {})
    attention, ends, mlp = ('1', '02', '3') if original else ('0', '01', '0')
    shapes: Shapes = {'embedding/kernel': (*tubelet, 3, dim), 'embedding/bias': (dim,)}
    for encoder, (layers, positions) in encoders.items():
        shapes[f'cls_{encoder}' if temporal else 'cls'] = (1, 1, dim)
        shapes[f'{encoder}/posembed_input/pos_embedding'] = (1, positions, dim)
        shapes |= {f'{encoder}/encoder_norm/{leaf}': (dim,) for leaf in ('scale', 'bias')}
        for block in (f'{encoder}/encoderblock_{index}' for index in range(layers)):
            part = f'{block}/MultiHeadDotProductAttention_{attention}'
            shapes |= {f'{block}/LayerNorm_{end}/{leaf}': (dim,) for end in ends for leaf in ('scale', 'bias')}
            for word in ('query', 'key', 'value'):
                shapes |= {f'{part}/{word}/kernel': (dim, heads, dim // heads), f'{part}/{word}/bias': (heads, 64)}
            shapes |= {f'{part}/out/kernel': (heads, 64, dim), f'{part}/out/bias': (dim,)}
            for index, (into, out) in enumerate(((dim, 4 * dim), (4 * dim, dim))):
                layer = f'{block}/MlpBlock_{mlp}/Dense_{index}'
                shapes |= {f'{layer}/kernel': (into, out), f'{layer}/bias': (out,)}
    head = 'head' if original else 'output_projection'
    if original:
        shapes |= {'pre_logits/kernel': (dim, dim), 'pre_logits/bias': (dim,)}
    return shapes | {f'{head}/kernel': (dim, classes), f'{head}/bias': (classes,)}


def timm_vit(classes: int) -> Shapes:
    """ViT-B/16 of timm."""
    shapes: Shapes = {'cls_token': (1, 1, 768), 'pos_embed': (1, 197, 768)}
    shapes |= affine('patch_embed.proj', 768, 3, 16, 16)
    for block in (f'blocks.{index}' for index in range(12)):
        shapes |= norm(f'{block}.norm1', 768) | norm(f'{block}.norm2', 768)
        shapes |= affine(f'{block}.attn.qkv', 2304, 768) | affine(f'{block}.attn.proj', 768, 768)
        shapes |= affine(f'{block}.mlp.fc1', 3072, 768) | affine(f'{block}.mlp.fc2', 768, 3072)
    return shapes | norm('norm', 768) | affine('head', classes, 768)


def timesformer(name: str, **sizes: int) -> Shapes:
    """A TimeSformer of a key list, with other numbers of positions, frames or classes.

    Args:
        name: of a file in tests/goldens/keys.
        sizes: part of a key -> the second of its three sizes, or the first.
    """
    shapes = listed(KEYS / f'{name}.txt')
    for part, size in sizes.items():
        for key in (key for key in shapes if part in key):
            shapes[key] = (1, size, 768) if len(shapes[key]) == 3 else (size, *shapes[key][1:])
    return shapes
