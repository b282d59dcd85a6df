"""What all UniFormers share: one source for clips (``ndim`` 3) and images (``ndim`` 2)."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..layers import Tokenizer, batch_norm, check_input, drop_path_rates
from .base import Backbone, resolve_arch
from .uniformer_blocks import NORMS, LocalBlock, conv_embeds, patch_embeds

STAGES = 4
LOCAL_STAGES = 2  # the first two stages relate tokens by convolution, the others by attention
BuildBlock = Callable[..., nn.Module]


class UniFormer(Backbone):
    """What the video and the image model share: four stages, each a down-sampling and its blocks.

    A subclass sets ``ndim`` and calls :meth:`_resolve`, :meth:`_build` and :meth:`_add_norms`.
    """

    family = 'uniformer'
    ndim: int
    in_channels: int
    norm_eval = False
    _warned = False

    @staticmethod
    def _choose_outputs(out_indices: Sequence[int] | int | None, final_norm: bool) -> Sequence[int] | int:
        """The stages that an image model returns: by default all, or with ``final_norm`` the last, and no other."""
        last = STAGES - 1
        if final_norm and out_indices not in (None, last, -1, (last,), [last]):
            raise ValueError(f'final_norm=True returns the last map only, got out_indices={out_indices}')
        if out_indices is None:
            return last if final_norm else tuple(range(STAGES))
        return out_indices

    def _resolve(
        self,
        arch: str | Mapping[str, Any],
        archs: Mapping[str, Mapping[str, Any]],
        out_indices: Sequence[int] | int,
        optional: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Look up the arch, a dict of which may have the keys ``optional``, and declare the outputs."""
        settings = resolve_arch(arch, archs, optional)
        dims, depths = settings['embed_dims'], settings['depths']
        if not len(dims) == len(depths) == STAGES:
            raise ValueError(f'arch: give {STAGES} depths and embed_dims, got {tuple(depths)} and {tuple(dims)}')
        self.depths, self.head_dim = tuple(depths), settings['head_dim']
        frames = 2 if self.ndim == 3 else 1
        self._set_outputs(out_indices, dims, [(frames, 4 * 2**i, 4 * 2**i) for i in range(STAGES)])
        return settings

    def _embeds(self, settings: Mapping[str, Any], odd_size: str, norm_eps: float) -> list[nn.Module]:
        """The four down-samplings."""
        if settings.get('conv_stem', False):
            return conv_embeds(self.in_channels, settings['embed_dims'], self.ndim)
        return patch_embeds(self.in_channels, settings['embed_dims'], self.ndim, odd_size, norm_eps)

    def _build(
        self,
        settings: Mapping[str, Any],
        embeds: Sequence[nn.Module],
        global_block: Callable[[int, int], BuildBlock],
        drop_path_rate: float,
        local_scale: float = 0.0,
    ) -> None:
        """Build the stages; ``global_block(stage, index)`` builds a block of the last two (stages count from 0)."""
        common = dict(ndim=self.ndim, mlp_ratio=settings['mlp_ratio'])
        local_block = partial(LocalBlock, layer_scale=local_scale)
        rates = iter(drop_path_rates(drop_path_rate, sum(self.depths)))
        for stage, (dim, embed) in enumerate(zip(settings['embed_dims'], embeds, strict=True)):
            blocks = nn.ModuleList()
            for index in range(self.depths[stage]):
                block = local_block if stage < LOCAL_STAGES else global_block(stage, index)
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

    def _add_norms(self, dims: Sequence[int], final_norm: bool, norm_eps: float) -> None:
        """The BatchNorm of the last map alone, as classifiers have it, or a LayerNorm for each output."""
        if final_norm:
            self.norm = NORMS[self.ndim](dims[-1])
        else:
            for stage in self.out_indices:
                self.add_module(f'norm{stage + 1}', nn.LayerNorm(dims[stage], norm_eps))

    def _output(self, x: Tensor, stage: int) -> Tensor:
        """The (B, C, *grid) output of a stage, from its (B, *grid, C) map; where it has no norm, as it is."""
        norms = dict(self.named_children())
        if f'norm{stage + 1}' in norms:
            x = norms[f'norm{stage + 1}'](x)
        elif stage == STAGES - 1:
            x = batch_norm(self.norm, x)
        return x.movedim(-1, 1).contiguous()

    def _check_size(self, x: Tensor) -> None:
        """With odd_size='floor', refuse what leaves no token, and warn once of pixels that are dropped."""
        if torch.compiler.is_compiling():
            return
        embeds = [getattr(self, f'patch_embed{stage + 1}') for stage in range(self.out_indices[-1] + 1)]
        floored = prod(e.stride[-1] for e in embeds if isinstance(e, Tokenizer) and e.odd_size == 'floor')
        if floored == 1:
            return
        stride = self.out_strides[-1][-1]
        cell = stride // floored  # convolutions round up to so many pixels before anything is dropped
        height, width = x.shape[-2:]
        rows, columns = (-(-size // cell) for size in (height, width))
        if min(rows, columns) < floored:
            least = stride - cell + 1
            raise ValueError(
                f'the input is {height} x {width} (H x W), but the last stage needs at least {least} x {least}: '
                "give a larger input, or set odd_size='pad'"
            )
        rows, columns = rows % floored * cell, columns % floored * cell
        if (rows or columns) and not self._warned:
            self._warned = True
            warnings.warn(
                f'{height} x {width} (H x W) is not a multiple of {stride}: the last map leaves out {rows} '
                f"rows at the bottom and {columns} columns at the right; set odd_size='pad' to keep them",
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
