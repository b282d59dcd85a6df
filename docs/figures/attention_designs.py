"""Attention designs of the four families, built from their backbones; attentions in the order of computation."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from receptive_field import DIM, Attend, Grid, View, randomize
from torch import Tensor

from vidtx_mm.backbones import ImageUniFormer, VideoSwin, VideoTimeSformer, VideoUniFormer, ViViT
from vidtx_mm.backbones.timesformer_block import SCHEMES
from vidtx_mm.backbones.uniformer import ATTENTIONS

Views = dict[str, View]


def video_swin() -> Views:
    """Return the two kinds of blocks of a stage, with windows of 2 x 4 x 4 tokens."""
    arch = dict(embed_dims=DIM, depths=(2,), num_heads=(1,))
    stage: Any = VideoSwin(arch=arch, window_size=(2, 4, 4), out_indices=0).layers[0]
    blocks = stage.blocks
    randomize(blocks)
    return {'windows': View(blocks[0].attend), 'shifted windows': View(blocks[1].attend)}


def _uniformer_arch(depth: int = 1) -> dict[str, Any]:
    return dict(depths=(1, 1, depth, 1), embed_dims=(DIM,) * 4, head_dim=DIM, mlp_ratio=1.0)


def video_uniformer(attention: str) -> Views:
    """Return the local relation of stages 1 and 2, and the attentions of stages 3 and 4."""
    model: Any = VideoUniFormer(arch=_uniformer_arch(), attention=attention)
    randomize(model)
    block, grid = model.blocks3[0], (6, 8, 8)
    local = {'local': View(model.blocks1[0].attn, grid)}
    if attention == 'split':
        return {**local, 't_attn': View(block.attend_over_time, grid), 'attn': View(block.attend, grid)}
    return {**local, 'global': View(block.attend, grid)}


def image_uniformer() -> Views:
    """Return the local relation, and the two kinds of blocks of a hybrid stage 3, with windows of 4 x 4 tokens."""
    model: Any = ImageUniFormer(arch=_uniformer_arch(depth=4), stage3='hybrid', window_size=4)
    randomize(model)

    def of_image(attend: Attend) -> View:
        return View(lambda patches: attend(patches[:, 0])[:, None], (1, 8, 8))

    window, whole = model.blocks3[0], model.blocks3[3]
    attentions = {'local': model.blocks1[0].attn, 'windows': window.attend, 'global': whole.attend}
    return {name: of_image(attend) for name, attend in attentions.items()}


def _frames(attend: Attend) -> View:
    """View an attention on ViViT's (B, G, N, C) tokens, with a frame as a group."""
    return View(lambda patches: attend(patches.flatten(2, 3)).view_as(patches))


def _joint(attend: Attend, **grid: Grid) -> View:
    """View an attention on ViViT's (B, G, N, C) tokens, with all tokens as one group."""
    return View(lambda patches: attend(patches.flatten(1, 3)[:, None]).view_as(patches), **grid)


def _without(block: Any, heads: slice) -> View:
    """View an attention with the columns of its output projection zeroed that ``heads`` feed."""
    block = deepcopy(block)
    block.attn.proj.weight.data[:, heads] = 0
    return _frames(block.attend)


VIVIT: dict[str, Callable[[Any], Views]] = {
    'joint': lambda model: {'attn': _joint(model.blocks[0].attend)},
    'factorized_encoder': lambda model: {
        'spatial encoder': _frames(model.blocks[0].attend),
        'temporal encoder': _joint(model.temporal_blocks[0].attend, grid=(4, 1, 1)),  # a token for each frame
    },
    'factorized_self_attention': lambda model: {
        'attn': _frames(model.blocks[0].attend),
        'temporal_attn': _frames(model.blocks[0].attend_over_time),
    },
    'factorized_dot_product': lambda model: {
        'first half of heads': _without(model.blocks[0], slice(DIM // 2, None)),
        'second half of heads': _without(model.blocks[0], slice(DIM // 2)),
    },
}


def vivit(attention: str) -> Views:
    """Return the attentions of one of ViViT's models."""
    arch = dict(embed_dims=DIM, depth=1, num_heads=2)
    model = ViViT(arch, attention=attention, temporal_depth=1, num_frames=2, img_size=16, pool='avg')
    randomize(model)
    return VIVIT[attention](model)


def timesformer(attention: str) -> Views:
    """Return the attentions by the names of their parameters."""
    block: Any = VideoTimeSformer(arch=dict(embed_dims=DIM, depth=1, num_heads=1), attention=attention).blocks[0]
    randomize(block)
    cls = torch.ones(1, 1, DIM, dtype=torch.float64)

    def last(patches: Tensor) -> Tensor:
        if attention != 'space':
            return block.attend(cls, patches)[1]
        frames = patches.transpose(0, 1)  # each frame is a sample
        return block.attend(cls.expand(len(frames), -1, -1), frames)[1].transpose(0, 1)

    added = {f'{name}_attn': View(partial(block.attend_added, name)) for name in SCHEMES[attention].added}
    return {**added, 'attn': View(last)}


DESIGNS: dict[str, Callable[[], Views]] = {
    'video_swin': video_swin,
    **{f'uniformer_{name}': partial(video_uniformer, name) for name in ATTENTIONS},
    'uniformer_hybrid': image_uniformer,
    **{f'vivit_{name}': partial(vivit, name) for name in VIVIT},
    **{f'timesformer_{name}': partial(timesformer, name) for name in SCHEMES},
}
