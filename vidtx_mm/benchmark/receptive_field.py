"""Which tokens a query sees: asked of the modules themselves, by the gradient of one token's output."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..backbones import VideoSwin, VideoTimeSformer
from ..backbones.timesformer_block import SCHEMES

Grid = tuple[int, int, int]
Attend = Callable[[Tensor], Tensor]  # (B, T, H, W, DIM) patches -> what an attention gives each
DIM = 8
NOTHING = 1e-20  # Swin leaves tokens of two ends of the grid a weight of e**-100


def seen(attend: Attend, grid: Grid, query: Grid) -> Tensor:
    """(T, H, W) bool: the tokens of which the output at ``query`` is a function."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(1, *grid, DIM, generator=generator, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(attend(patches)[(0, *query)].sum(), patches)
    return (gradient[0].abs() > NOTHING).any(-1)


def _randomise(module: torch.nn.Module) -> None:
    generator = torch.Generator().manual_seed(0)
    for parameter in module.double().eval().parameters():
        parameter.data.normal_(std=0.3, generator=generator)


def timesformer(attention: str) -> dict[str, Attend]:
    """The attentions of a block of TimeSformer in the order of computation, by the names of their parameters."""
    block: Any = VideoTimeSformer(arch=dict(embed_dims=DIM, depth=1, num_heads=1), attention=attention).blocks[0]
    _randomise(block)
    cls = torch.ones(1, 1, DIM, dtype=torch.float64)

    def last(patches: Tensor) -> Tensor:
        if attention != 'space':
            return block.attend(cls, patches)[1]
        frames = patches.transpose(0, 1)  # every frame is a sample of its own
        return block.attend(cls.expand(len(frames), -1, -1), frames)[1].transpose(0, 1)

    return {**{f'{name}_attn': partial(block.attend_added, name) for name in SCHEMES[attention].added}, 'attn': last}


def video_swin() -> dict[str, Attend]:
    """The two kinds of blocks of a stage of Video Swin, with windows of 2 x 4 x 4 tokens."""
    arch = dict(embed_dims=DIM, depths=(2,), num_heads=(1,))
    stage: Any = VideoSwin(arch=arch, window_size=(2, 4, 4), out_indices=0).layers[0]
    blocks = stage.blocks
    _randomise(blocks)
    return {'windows': blocks[0].attend, 'shifted windows': blocks[1].attend}


DESIGNS: dict[str, Callable[[], dict[str, Attend]]] = {
    **{f'timesformer_{name}': partial(timesformer, name) for name in SCHEMES},
    'video_swin': video_swin,
}
