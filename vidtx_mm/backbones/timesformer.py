"""TimeSformer (Bertasius et al., arXiv 2102.05095); its attention schemes stand in ``timesformer_block.py``."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ..checks import InitCfg, OneOf, Positive, Rate, Ratio, Size2
from ..layers import SPACE_MODES, Attention, Tokenizer, drop_path_rates, resize_space_table, resize_time_table
from ..registry import MODELS
from .base import TOKEN_POOLS, Backbone, pair, resolve_arch
from .timesformer_block import DIVIDED_ORDERS, NORM_EPS, SCHEMES, TimeSformerBlock

ARCHS: dict[str, dict[str, Any]] = {
    'small': dict(embed_dims=384, depth=12, num_heads=6),
    'base': dict(embed_dims=768, depth=12, num_heads=12),
    'large': dict(embed_dims=1024, depth=24, num_heads=16),
}


@MODELS.register_module()
class VideoTimeSformer(Backbone):
    """TimeSformer: a ViT over the patches of all frames, (B, C, T, H, W) clips to class tokens, means or maps.

    A stage is a block. Any T, H and W work: the end of a frame is zero-padded to whole patches, and position embeddings
    are resized to the clip.

    Args:
        arch: 'small', 'base', 'large', or a dict of embed_dims, depth and num_heads.
        attention: the scheme of section 3: 'space', 'joint', 'divided', 'local_global' or 'axial'. The last two have no
            published code; docs/attention_schemes.md says how the open points are decided.
        order: order of the two attentions of 'divided' (section 4): 'time_first', 'space_first' or 'parallel' (both
            on the same input).
        num_frames: frames that the time embedding is made for.
        img_size: (height, width) in pixels that the position embedding is made for, or one number for both.
        patch_size: height and width of a patch in pixels.
        pos_interpolation: interpolation of position embeddings to other clips: 'bicubic' (in time linear) or 'nearest'
            (the official rule in ``forward``).
        pool: 'cls' returns the class token (B, C'), for 'space' the mean of those of the frames; 'avg' the mean of the
            patches (B, C'); 'none' the map (B, C', T, H / patch_size, W / patch_size). All after a LayerNorm.
        out_indices: blocks to return.
        frozen_stages: -1 for none, 0 the patch and position embeddings, n these and the first n blocks.
        with_cp: recompute activations in the backward pass, in all blocks or in those whose entry is 1.

    Source: the paper. Names of parameters are those of the files of facebookresearch/TimeSformer.
    """

    family = 'timesformer'
    grid: tuple[int, int]

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'base',
        in_channels: Positive = 3,
        attention: Annotated[str, OneOf(SCHEMES)] = 'divided',
        order: Annotated[str, OneOf(DIVIDED_ORDERS)] = 'time_first',
        num_frames: Positive = 8,
        img_size: Positive | Size2 = 224,
        patch_size: Positive = 16,
        mlp_ratio: Ratio = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: Rate = 0.1,
        pos_interpolation: Annotated[str, OneOf(SPACE_MODES)] = 'bicubic',
        pool: Annotated[str, OneOf(TOKEN_POOLS)] = 'cls',
        out_indices: Sequence[int] | int = (-1,),
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        settings = resolve_arch(arch, ARCHS)
        dim, depth, num_heads = settings['embed_dims'], settings['depth'], settings['num_heads']
        self.attention = attention
        self.order = order
        if order != 'time_first' and attention != 'divided':
            raise ValueError(f"order={order!r} is for attention='divided', not for {attention!r}: leave it out")
        self.pos_interpolation = pos_interpolation
        self.pool = pool
        self.num_frames = num_frames
        self.patch_size = patch_size
        height, width = pair(img_size)
        self.grid = -(-height // patch_size), -(-width // patch_size)
        self._set_outputs(out_indices, [dim] * depth, [(1, patch_size, patch_size)] * depth)

        self.patch_embed = Tokenizer(in_channels, dim, (patch_size, patch_size))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], dim))
        self.time_embed = None if attention == 'space' else nn.Parameter(torch.zeros(1, num_frames, dim))
        scheme = SCHEMES[attention]

        def build_block(rate: float) -> TimeSformerBlock:
            attn = Attention(dim, num_heads, qkv_bias)
            added = {name: kind(dim, num_heads, qkv_bias) for name, (_, kind) in scheme.added.items()}
            return TimeSformerBlock(dim, scheme, order, attn, added, mlp_ratio, rate)

        self.blocks = nn.ModuleList(build_block(rate) for rate in drop_path_rates(drop_path_rate, depth))
        for stage in self.out_indices:
            self.add_module(self._norm_name(stage), nn.LayerNorm(dim, eps=NORM_EPS))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self._finish()

    def _norm_name(self, stage: int) -> str:
        """Return the name of the norm after a stage; the last one has the official name."""
        return 'norm' if stage == len(self.blocks) - 1 else f'norm{stage}'

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Embed clips (B, C, T, H, W) as tokens (B, 1 + T*H*W, C'); also return their grid (T, H, W).

        For 'space' the frames become samples: (B * T, 1 + H*W, C') and (1, H, W).
        """
        if x.dim() != 5:
            raise ValueError(f'expected a 5-dimensional (B, C, T, H, W) input, got shape {tuple(x.shape)}')
        batch, _, frames = x.shape[:3]
        patches = self.patch_embed(x.transpose(1, 2).flatten(0, 1))  # (B * T, H, W, C')
        height, width = patches.shape[1:3]
        cls = self.cls_token + self.pos_embed[:, :1]
        space = resize_space_table(self.pos_embed[:, 1:], self.grid, (height, width), self.pos_interpolation)
        patches = patches + space.unflatten(1, (height, width))
        if self.time_embed is None:
            patches = patches.unsqueeze(1)
        else:
            time = resize_time_table(self.time_embed, frames, self.pos_interpolation)
            patches = patches.unflatten(0, (batch, frames)) + time[:, :, None, None]
        tokens = torch.cat([cls.expand(patches.shape[0], -1, -1), patches.flatten(1, 3)], 1)
        return tokens, (patches.shape[1], height, width)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        clip = (x.shape[0], x.shape[2])
        tokens, grid = self.embed(x)
        # In the other orders, the last class token does not depend on the temporal attention of its block, whose
        # parameters must get gradients nevertheless.
        class_only = self.pool == 'cls' and self.order == 'time_first'
        outputs = []
        for index, block in enumerate(self.blocks[: self.out_indices[-1] + 1]):
            tokens = self._run(block, tokens, index, 0, grid, class_only and index == self.out_indices[-1])
            if index in self.out_indices:
                outputs.append(self._pool(tokens, getattr(self, self._norm_name(index)), (*clip, *grid[1:])))
        return self._pack(outputs)

    def _pool(self, tokens: Tensor, norm: nn.Module, shape: tuple[int, int, int, int]) -> Tensor:
        """Return the output for tokens after a block; ``shape`` is (B, T, H, W) of the patches."""
        if self.pool == 'cls':
            return norm(tokens[:, 0].unflatten(0, (shape[0], -1)).mean(1))
        patches = norm(tokens[:, 1:]).reshape(*shape, -1)
        return patches.mean((1, 2, 3)) if self.pool == 'avg' else patches.movedim(-1, 1).contiguous()

    def stage_modules(self) -> list[list[nn.Module]]:
        return [[self.patch_embed], *[[block] for block in self.blocks]]

    def embeddings(self) -> list[nn.Parameter]:
        return [p for p in (self.cls_token, self.pos_embed, self.time_embed) if p is not None]

    def no_weight_decay(self) -> set[str]:
        return {'cls_token', 'pos_embed', 'time_embed'} & {name for name, _ in self.named_parameters()}

    def layer_depth(self, name: str) -> tuple[int, int]:
        total = len(self.blocks) + 1
        parts = name.split('.')
        if parts[0] == 'blocks':
            return int(parts[1]) + 1, total
        return (total - 1 if parts[0].startswith('norm') else 0), total
