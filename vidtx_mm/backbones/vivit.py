"""ViViT (Arnab et al., arXiv 2103.15691); its blocks stand in ``vivit_blocks.py``."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ..checks import Count, InitCfg, OneOf, Positive, Rate, Ratio, Size2, Size3
from ..layers import (
    SPACE_MODES,
    Attention,
    DropPath,
    Tokenizer,
    check_input,
    drop_path_rates,
    resize_space_table,
    resize_time_table,
)
from ..registry import MODELS
from .base import TOKEN_POOLS, Backbone, pair, resolve_arch, triple
from .vivit_blocks import AXES, NORM_EPS, EncoderBlock, SelfAttentionBlock, SplitAttention
from .vivit_input import uniform_frames, whole_tubelets

ARCHS: dict[str, dict[str, Any]] = {
    'base': dict(embed_dims=768, depth=12, num_heads=12),
    'large': dict(embed_dims=1024, depth=24, num_heads=16),
    'huge': dict(embed_dims=1280, depth=32, num_heads=16),
}
WITH_CLS = ('joint', 'factorized_encoder')
ATTENTIONS = (*WITH_CLS, 'factorized_self_attention', 'factorized_dot_product')
TOKENS = ('tubelet', 'uniform')


@MODELS.register_module()
class ViViT(Backbone):
    """ViViT: a ViT over tubelets of a clip, (B, C, T, H, W) to class tokens, means or maps.

    A stage is a block; the blocks of the temporal encoder come after those of the spatial one. Any T, H and W work: a
    clip is padded to whole tubelets (zeros in space, its last frame in time), and position embeddings are resized.

    Args:
        arch: 'base', 'large', 'huge', or a dict of embed_dims, depth and num_heads.
        attention: the paper's model 1 'joint', 2 'factorized_encoder', 3 'factorized_self_attention' or
            4 'factorized_dot_product'.
        order: order of the two attentions of model 3: 'space_first' (the paper) or 'time_first' (the default of the
            published code).
        temporal_depth: blocks of the temporal encoder of model 2. 0 averages the frames instead, the paper's 'average
            pooling' baseline. The released base file is reported to have 12, the large one 24; a mismatch is
            an error of loading.
        tokens: 'tubelet' embeds blocks of ``tubelet_size``; 'uniform' embeds single frames, one in every
            ``tubelet_size[0]``, sampled uniformly.
        tubelet_size: (t, h, w) of a token in frames and pixels.
        num_frames: frames of the clips that the position embeddings are made for.
        img_size: (height, width) in pixels that they are made for, or one number for both.
        drop_path_rescale: rescale the residuals that stochastic depth keeps; False is as published (model 3 had no
            stochastic depth). A clip is dropped as a whole.
        pos_interpolation: interpolation of position embeddings to other clips: 'bicubic' (in time linear) or 'nearest'.
        pool: 'cls' returns the class token (B, C'), which models 3 and 4 lack; 'avg' the mean of the tokens (B, C')
            of a model without class token; 'none' the map (B, C', T', H', W'). All after a LayerNorm. The spatial
            encoder of model 2 returns the mean over the frames; its temporal encoder has no map.
        out_indices: blocks to return.
        frozen_stages: -1 for none, 0 the tubelet and position embeddings, n these and the first n blocks.
        with_cp: recompute activations in the backward pass, in all blocks or in those whose entry is 1.

    Source: the paper, and google-research/scenic, projects/vivit/model.py. Parameters are named as in an image ViT;
    those that video adds are ``temporal_*``.
    """

    family = 'vivit'
    grid: tuple[int, int, int]

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'base',
        in_channels: Positive = 3,
        attention: Annotated[str, OneOf(ATTENTIONS)] = 'joint',
        order: Annotated[str, OneOf(AXES)] = 'space_first',
        temporal_depth: Count = 4,
        tokens: Annotated[str, OneOf(TOKENS)] = 'tubelet',
        tubelet_size: Size3 = (2, 16, 16),
        num_frames: Positive = 32,
        img_size: Positive | Size2 = 224,
        mlp_ratio: Ratio = 4.0,
        qkv_bias: bool = True,
        drop_path_rate: Rate = 0.0,
        drop_path_rescale: bool = True,
        pos_interpolation: Annotated[str, OneOf(SPACE_MODES)] = 'bicubic',
        pool: Annotated[str, OneOf(TOKEN_POOLS)] = 'cls',
        out_indices: Sequence[int] | int = (-1,),
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        super().__init__(frozen_stages, with_cp, init_cfg)
        settings = resolve_arch(arch, ARCHS)
        dim, self.depth, self.num_heads = settings['embed_dims'], settings['depth'], settings['num_heads']
        self.attention = attention
        self.order = order
        self.tokens = tokens
        self.pos_interpolation = pos_interpolation
        self.pool = pool
        if pool == 'cls' and attention not in WITH_CLS:
            raise ValueError(f"pool='cls': attention={attention!r} has no class token; set pool='avg' or 'none'")
        self.tubelet_size = t, h, w = triple(tubelet_size)
        if num_frames % t:
            raise ValueError(f'num_frames={num_frames} is not divisible by tubelet_size[0]={t}')
        factorized = attention == 'factorized_encoder'
        self.temporal_depth = temporal_depth if factorized else 0
        height, width = pair(img_size)
        self.grid = num_frames // t, -(-height // h), -(-width // w)
        self.table_grid = (1, *self.grid[1:]) if factorized else self.grid
        stages = self.depth + self.temporal_depth
        self._set_outputs(out_indices, [dim] * stages, [self.tubelet_size] * stages)
        temporal = self.out_indices[-1] >= self.depth
        if pool == 'none' and temporal:
            raise ValueError(
                f"pool='none': blocks from {self.depth} on are of the temporal encoder, which has no map; choose "
                'earlier out_indices or another pool'
            )

        self.patch_embed = Tokenizer(in_channels, dim, self.tubelet_size if tokens == 'tubelet' else (h, w))
        with_cls = attention in WITH_CLS and pool != 'avg'
        self.prefix = int(with_cls)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if with_cls else None
        rows = self.table_grid[0] * self.table_grid[1] * self.table_grid[2]
        self.pos_embed = nn.Parameter(torch.empty(1, self.prefix + rows, dim))
        nn.init.normal_(self.pos_embed, std=0.02)

        def attn(kind: type[Attention] = Attention) -> Attention:
            return kind(dim, self.num_heads, qkv_bias)

        def spatial_block(drop_path: DropPath) -> nn.Module:
            if attention == 'factorized_self_attention':
                return SelfAttentionBlock(dim, attn(), attn(), mlp_ratio, drop_path, order)
            kind = SplitAttention if attention == 'factorized_dot_product' else Attention
            return EncoderBlock(dim, attn(kind), mlp_ratio, drop_path)

        def drop_paths(depth: int) -> list[DropPath]:
            return [DropPath(rate, drop_path_rescale) for rate in drop_path_rates(drop_path_rate, depth)]

        self.blocks = nn.ModuleList(spatial_block(drop_path) for drop_path in drop_paths(self.depth))
        self.temporal_blocks = nn.ModuleList(
            EncoderBlock(dim, attn(), mlp_ratio, drop_path) for drop_path in drop_paths(self.temporal_depth)
        )
        if self.temporal_depth:
            self.temporal_cls_token = nn.Parameter(torch.zeros(1, 1, dim)) if with_cls else None
            self.temporal_pos_embed = nn.Parameter(torch.empty(1, self.prefix + self.grid[0], dim))
            nn.init.normal_(self.temporal_pos_embed, std=0.02)
        normed = {*self.out_indices, self.depth - 1} if temporal else set(self.out_indices)
        for stage in sorted(normed):
            self.add_module(self._norm_name(stage), nn.LayerNorm(dim, eps=NORM_EPS))
        self._finish()

    def _norm_name(self, stage: int) -> str:
        """Return the name of the norm after a stage; those at the end of an encoder are named as in ViTs."""
        if stage == self.depth + self.temporal_depth - 1 and self.temporal_depth:
            return 'temporal_norm'
        return 'norm' if stage == self.depth - 1 else f'norm{stage}'

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        """Embed clips (B, C, T, H, W) as tokens (B, G, N, C'), class token first; also return their grid (t, h, w)."""
        check_input(x, self.patch_embed.proj.in_channels, 3)
        if self.tokens == 'uniform':
            frames = uniform_frames(x.shape[2], -(-x.shape[2] // self.tubelet_size[0]))
            images = torch.stack([x[:, :, frame] for frame in frames], 1)  # (B, t, C, H, W), no index to copy
            patches = self.patch_embed(images.flatten(0, 1)).unflatten(0, images.shape[:2])
        else:
            patches = self.patch_embed(whole_tubelets(x, self.tubelet_size[0]))
        t, h, w = patches.shape[1:4]
        patches = patches.flatten(2, 3) + self._patch_positions((t, h, w))
        if self.attention == 'joint':
            patches = patches.flatten(1, 2).unsqueeze(1)
        return self._with_cls(patches, self.cls_token, self.pos_embed), (t, h, w)

    def _patch_positions(self, grid: tuple[int, int, int]) -> Tensor:
        """Return the position embedding of the patches of a clip, (1, t, h * w, C) or (1, 1, h * w, C)."""
        frames, height, width = self.table_grid
        table = self.pos_embed[:, self.prefix :].unflatten(1, (frames, height * width))[0]
        table = resize_space_table(table, (height, width), grid[1:], self.pos_interpolation)
        if self.attention != 'factorized_encoder':
            table = resize_time_table(table.flatten(1)[None], grid[0], self.pos_interpolation)
        return table.view(1, -1, grid[1] * grid[2], self.pos_embed.shape[2])

    def _with_cls(self, tokens: Tensor, cls: Tensor | None, table: Tensor) -> Tensor:
        """Prepend the class token and its position embedding to the tokens of each group."""
        if cls is None:
            return tokens
        return torch.cat([(cls + table[:, :1]).expand(*tokens.shape[:2], -1, -1), tokens], 2)

    def _enter_temporal(self, x: Tensor) -> Tensor:
        """Pool the tokens of the spatial encoder, (B, t, N, C), to those of the temporal one, (B, 1, n, C)."""
        x = self.get_submodule('norm')(x[:, :, :1] if self.prefix else x).mean(2)
        table = self.temporal_pos_embed
        tokens = x + resize_time_table(table[:, self.prefix :], x.shape[1], self.pos_interpolation)
        return self._with_cls(tokens[:, None], self.temporal_cls_token, table)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        x, grid = self.embed(x)  # (B, G, N, C)
        outputs = []
        blocks = [*self.blocks, *self.temporal_blocks]
        for stage, block in enumerate(blocks[: self.out_indices[-1] + 1]):
            if stage == self.depth:
                x = self._enter_temporal(x)
            # The last block of an encoder computes nothing but the class tokens, if only they are returned.
            class_only = self.pool == 'cls' and stage in (self.depth - 1, self.out_indices[-1])
            x = self._run(block, x, stage, 0, *((True,) if class_only else ()))  # (B, G, N or 1, C)
            if stage in self.out_indices:
                outputs.append(self._pool(x, self.get_submodule(self._norm_name(stage)), grid))
        return self._pack(outputs)

    def _pool(self, x: Tensor, norm: nn.Module, grid: tuple[int, int, int]) -> Tensor:
        """Return the output for tokens (B, G, N, C) after a block."""
        if self.pool == 'cls':
            return norm(x[:, :, 0]).mean(1)
        x = norm(x[:, :, self.prefix :])
        return x.mean((1, 2)) if self.pool == 'avg' else x.reshape(x.shape[0], *grid, -1).movedim(-1, 1).contiguous()

    def stage_modules(self) -> list[list[nn.Module]]:
        stages: list[list[nn.Module]] = [[block] for block in self.blocks]
        if self.temporal_depth:
            stages[-1] += [module for name, module in self.named_children() if name == 'norm']
            stages += [[block] for block in self.temporal_blocks]
        return [[self.patch_embed], *stages]

    def embeddings(self) -> list[nn.Parameter]:
        """Return the position embeddings; those of the temporal encoder are frozen with its first block."""
        all_of_them = self.frozen_stages > self.depth
        return [self.get_parameter(n) for n in self.no_weight_decay() if all_of_them or not n.startswith('temporal')]

    def no_weight_decay(self) -> set[str]:
        return {name for name, _ in self.named_parameters() if name.endswith(('cls_token', 'pos_embed'))}

    def layer_depth(self, name: str) -> tuple[int, int]:
        total = self.depth + self.temporal_depth + 1
        parts = name.split('.')
        if parts[0] == 'blocks':
            return int(parts[1]) + 1, total
        if parts[0].startswith('temporal'):
            return self.depth + (int(parts[1]) if parts[0] == 'temporal_blocks' else 0) + 1, total
        return (total - 1 if 'norm' in parts[0] else 0), total
