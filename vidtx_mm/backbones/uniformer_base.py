"""What all UniFormers share: one source for clips (``ndim`` 3) and images (``ndim`` 2)."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..layers import Tokenizer, check_input, drop_path_rates
from .base import Backbone, resolve_arch
from .uniformer_blocks import LocalBlock

STAGES = 4
LOCAL_STAGES = 2  # the first two stages relate tokens by convolution, the others by attention
BuildBlock = Callable[..., nn.Module]


class UniFormer(Backbone):
    """What the video and the image model share: four stages, each a down-sampling and its blocks.

    A subclass sets ``ndim``, calls :meth:`_build` and says in :meth:`_output` how the map of a stage leaves the model.
    """

    family = 'uniformer'
    ndim: int
    in_channels: int
    norm_eval = False
    _warned = False

    def _resolve(
        self,
        arch: str | Mapping[str, Any],
        archs: Mapping[str, Mapping[str, Any]],
        out_indices: Sequence[int] | int,
    ) -> dict[str, Any]:
        """Look up the arch and declare the outputs."""
        settings = resolve_arch(arch, archs)
        dims, depths = settings['embed_dims'], settings['depths']
        if not len(dims) == len(depths) == STAGES:
            raise ValueError(f'arch: give {STAGES} depths and embed_dims, got {tuple(depths)} and {tuple(dims)}')
        self.depths, self.head_dim = tuple(depths), settings['head_dim']
        frames = 2 if self.ndim == 3 else 1
        self._set_outputs(out_indices, dims, [(frames, 4 * 2**i, 4 * 2**i) for i in range(STAGES)])
        return settings

    def _build(
        self,
        settings: Mapping[str, Any],
        embeds: Sequence[nn.Module],
        global_block: Callable[[int, int], BuildBlock],
        drop_path_rate: float,
    ) -> None:
        """Build the stages; ``global_block(stage, index)`` builds a block of the last two (stages count from 0)."""
        common = dict(ndim=self.ndim, mlp_ratio=settings['mlp_ratio'])
        rates = iter(drop_path_rates(drop_path_rate, sum(self.depths)))
        for stage, (dim, embed) in enumerate(zip(settings['embed_dims'], embeds, strict=True)):
            blocks = nn.ModuleList()
            for index in range(self.depths[stage]):
                block = LocalBlock if stage < LOCAL_STAGES else global_block(stage, index)
                blocks.append(block(dim=dim, drop_path=next(rates), **common))
            self.add_module(f'patch_embed{stage + 1}', embed)
            self.add_module(f'blocks{stage + 1}', blocks)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        check_input(x, self.in_channels, self.ndim)
        self._check_size(x)
        outputs = []
        for stage in range(self.out_indices[-1] + 1):
            x = getattr(self, f'patch_embed{stage + 1}')(x)
            for index, block in enumerate(getattr(self, f'blocks{stage + 1}')):
                x = self._run(block, x, stage, index)
            if stage in self.out_indices:
                outputs.append(self._output(x, stage))
            x = x.movedim(-1, 1)
        return self._pack(outputs)

    def _output(self, x: Tensor, stage: int) -> Tensor:
        """The (B, C, *grid) output of a stage, from its (B, *grid, C) map."""
        raise NotImplementedError

    def _check_size(self, x: Tensor) -> None:
        """With odd_size='floor', refuse what leaves no token, and warn once of pixels that are dropped."""
        embeds = [getattr(self, f'patch_embed{stage + 1}') for stage in range(self.out_indices[-1] + 1)]
        floored = [e.stride[-1] for e in embeds if isinstance(e, Tokenizer) and e.odd_size == 'floor']
        height, width = x.shape[-2:]
        if torch.compiler.is_compiling() or len(floored) < len(embeds):
            return
        stride = self.out_strides[-1][-1]
        if min(height, width) < stride:
            raise ValueError(
                f'the input is {height} x {width} (H x W), but the last stage needs at least {stride} x {stride}: '
                "give a larger input, or set odd_size='pad'"
            )
        if (height % stride or width % stride) and not self._warned:
            self._warned = True
            warnings.warn(
                f'{height} x {width} (H x W) is not a multiple of {stride}: the last map leaves out {height % stride} '
                f"rows at the bottom and {width % stride} columns at the right; set odd_size='pad' to keep them",
                stacklevel=3,
            )

    def stage_modules(self) -> list[list[nn.Module]]:
        def of(stage: int) -> list[nn.Module]:
            return [getattr(self, f'{part}{stage}') for part in ('patch_embed', 'blocks')]

        return [[self.patch_embed1], *[of(stage) for stage in range(1, STAGES + 1)]]

    def layer_depth(self, name: str) -> tuple[int, int]:
        total = sum(self.depths) + 1
        parts = name.split('.')
        if not parts[0].startswith(('patch_embed', 'blocks')):
            return total - 1, total
        before = sum(self.depths[: int(parts[0][-1]) - 1])
        return (before + int(parts[1]) + 1 if parts[0].startswith('blocks') else before), total

    def train(self, mode: bool = True) -> 'UniFormer':
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self
