"""The light UniFormers XXS and XS, whose attention blocks work on half of the tokens (arXiv 2201.09450)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import Epsilon, Fraction, InitCfg, OneOf, Positive, Rate
from ..layers import ODD_SIZES, QkvProjection, Tokenizer, check_input, pad_to_multiple
from ..registry import MODELS
from .base import initialize
from .uniformer import LOCAL_STAGES, STAGES, BuildBlock, UniFormer, image_outputs, resolve_uniformer
from .uniformer_blocks import AttentionBlock, conv_stem, count_heads, patch_embeds, scaled

_XXS: dict[str, Any] = dict(depths=(2, 5, 8, 2), embed_dims=(56, 112, 224, 448), head_dim=28, mlp_ratio=3.0)
_XS: dict[str, Any] = dict(depths=(3, 5, 9, 3), embed_dims=(64, 128, 256, 512), head_dim=32, mlp_ratio=3.0)
VIDEO_ARCHS: dict[str, dict[str, Any]] = {'xxs': _XXS, 'xxs-ls': dict(_XXS, layer_scale=0.1), 'xs': _XS}
IMAGE_ARCHS: dict[str, dict[str, Any]] = {'xxs': _XXS, 'xs': _XS}
UPDATE_RATE = 0.5  # weight of the new scores when a block updates those of its tokens


class State(NamedTuple):
    """Features passed from block to block: the class token (B, 1, C), the map (B, *grid, C), and the scores (B, N).

    The scores say how much the class token has attended to each token; they are None before the first block.
    """

    cls: Tensor
    x: Tensor
    scores: Tensor | None = None


class ScoredAttention(QkvProjection):
    """Attention that also returns what the first token attends to, (G, N - 1), averaged over the heads."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        q, k, v = self.split_heads(x)  # (G, heads, N, D)
        # Products and sums, which autocast leaves in single precision: the scores decide the order of the tokens.
        first, keys = (y.float() if y.dtype in (torch.float16, torch.bfloat16) else y for y in (q[:, :, :1], k))
        scores = ((first * keys).sum(-1) * q.shape[-1] ** -0.5).softmax(-1).mean(1)  # (G, N)
        return self.join_heads(F.scaled_dot_product_attention(q, k, v)), scores[:, 1:]


class ShrinkBlock(AttentionBlock):
    """A global block on the class token and the fraction ``keep_ratio`` of the tokens with the highest scores.

    The other tokens are merged into one, weighted by their scores, and each of them gets the change of the merged one,
    as in Evo-ViT (arXiv 2108.01390). Tokens move by integer indices and the scores are passed on; the official code has
    floating-point indices, which half precision cannot count, and globals.
    """

    def __init__(self, keep_ratio: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.keep_ratio = keep_ratio

    def forward(self, state: State) -> State:
        x = state.x + self.pos_embed(state.x)  # (B, *grid, C)
        tokens = x.flatten(1, -2)  # (B, N, C)
        if self.keep_ratio == 1:
            tokens, row, _ = self.relate(torch.cat([state.cls, tokens], 1))
            return State(tokens[:, :1], tokens[:, 1:].view_as(x), update(state.scores, row))

        assert state.scores is not None, 'the first block of stage 3 keeps all tokens and makes the scores'
        order = state.scores.argsort(1, descending=True)
        kept = int(order.shape[1] * self.keep_ratio)
        tokens, scores = take(tokens, order), state.scores.gather(1, order)
        merged = merge(tokens[:, kept:], scores[:, kept:])
        related, row, gain = self.relate(torch.cat([state.cls, tokens[:, :kept], merged], 1))
        tokens = torch.cat([related[:, 1:-1], tokens[:, kept:] + gain], 1)
        scores = torch.cat([update(scores[:, :kept], row[:, :-1]), scores[:, kept:]], 1)
        back = order.argsort(1)
        return State(related[:, :1], take(tokens, back).view_as(x), scores.gather(1, back))

    def relate(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B, N, C) tokens after attention and MLP, the scores of the class token, and the change of the last
        token."""
        attended, row = self.attn(self.norm1(tokens))
        attended = scaled(attended, self.gamma_1)
        tokens = tokens + self.drop_path(attended)  # (B, N, C)
        changed = scaled(self.mlp(self.norm2(tokens)), self.gamma_2)
        return tokens + self.drop_path(changed), row, (attended + changed)[:, -1:]


def update(scores: Tensor | None, row: Tensor) -> Tensor:
    return row if scores is None else (1 - UPDATE_RATE) * scores + UPDATE_RATE * row


def take(tokens: Tensor, indices: Tensor) -> Tensor:
    return tokens.gather(1, indices[..., None].expand_as(tokens))


def merge(tokens: Tensor, scores: Tensor) -> Tensor:
    """Return the mean (B, 1, C) of tokens, weighted by their scores."""
    weights = scores / scores.sum(1, keepdim=True)
    return (weights[..., None].to(tokens.dtype) * tokens).sum(1, keepdim=True)


class LightUniFormer(UniFormer):
    """The base of the light video and image models; see :class:`VideoUniFormerLight`."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        in_channels: int,
        keep_ratio: float,
        class_token: bool,
        odd_size: str,
        patch_norm_eps: float,
        **kwargs: Any,
    ) -> None:
        dims = settings['embed_dims']
        downs = patch_embeds(in_channels, dims, self.ndim, odd_size, patch_norm_eps)[1:]

        def attention_block(stage: int, index: int) -> BuildBlock:
            attn = ScoredAttention(dims[stage], count_heads(dims[stage], settings['head_dim']))
            first = (stage, index) == (LOCAL_STAGES, 0)
            return partial(ShrinkBlock, attn=attn, keep_ratio=1.0 if first else keep_ratio)

        super().__init__(
            settings,
            [conv_stem(in_channels, dims[0], self.ndim), *downs],
            attention_block,
            in_channels,
            local_scale=settings.get('layer_scale', 0.0),
            **kwargs,
        )
        if class_token and self.out_indices != (STAGES - 1,):
            raise ValueError(f'class_token=True returns the last map and the token, got out_indices={self.out_indices}')
        self.class_token = class_token
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims[LOCAL_STAGES]))
        self.cls_upsample = nn.Linear(dims[-2], dims[-1])
        self.cls_upsample.apply(initialize)
        if class_token:
            self.norm_cls = nn.LayerNorm(dims[-1])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        check_input(x, self.in_channels, self.ndim)
        self._check_size(x)
        outputs = []
        state = State(self.cls_token.expand(x.shape[0], -1, -1), x)
        for stage in range(self.out_indices[-1] + 1):
            if stage == LOCAL_STAGES + 1:
                state = State(self.cls_upsample(state.cls), state.x, self._halve(state))
            x = state.x if stage == 0 else state.x.movedim(-1, 1)  # (B, C, *grid)
            state = state._replace(x=self.get_submodule(f'patch_embed{stage + 1}')(x))  # (B, *grid, C)
            for index, block in enumerate(self._blocks(stage)):
                if stage < LOCAL_STAGES:
                    state = state._replace(x=self._run(block, state.x, stage, index))
                else:
                    state = self._run(block, state, stage, index)
            if stage in self.out_indices:
                outputs.append(self._output(state.x, stage))
        if self.class_token:
            outputs.append(self.norm_cls(state.cls)[:, 0])
        return self._pack(outputs)

    def _halve(self, state: State) -> Tensor:
        """Return the scores of the halved map: averages over 2 x 2 tokens, rescaled to the same sum."""
        assert state.scores is not None
        height, width = state.x.shape[-3:-1]
        grid = state.scores.unflatten(1, (-1, height, width))
        if isinstance(self.patch_embed4, Tokenizer) and self.patch_embed4.odd_size == 'pad':
            grid = pad_to_multiple(grid, (2, 2), first_axis=2)
        scores = F.avg_pool2d(grid, 2).flatten(1)
        return scores * (state.scores.sum(1, keepdim=True) / scores.sum(1, keepdim=True))

    def no_weight_decay(self) -> set[str]:
        return {'cls_token'}

    def layer_depth(self, name: str) -> tuple[int, int]:
        joins = {'cls_token': 'patch_embed3.', 'cls_upsample': 'patch_embed4.'}
        return super().layer_depth(joins.get(name.split('.')[0], name))


@MODELS.register_module()
class VideoUniFormerLight(LightUniFormer):
    """UniFormer-XXS and -XS for clips: (B, C, T, H, W) to feature maps (B, C', T', H', W').

    A convolution stem, then four stages as in :class:`VideoUniFormer`. From stage 3 on a class token scores the tokens;
    each block but the first works on the best ``keep_ratio`` of them.

    Args:
        arch: 'xxs', 'xs', 'xxs-ls' (with layer scale; the published XXS 4 x 128, 4 x 160 and 8 x 128), or a dict of
            depths, embed_dims, head_dim, mlp_ratio and optionally layer_scale (the initial value).
        keep_ratio: fraction of the tokens that an attention block works on.
        class_token: also return the class token (B, C'), after its norm, for training as published
            (``VideoTokenClsHead``).
        in_channels, drop_path_rate, odd_size, norm_eps, patch_norm_eps, out_indices, norm_eval, frozen_stages, with_cp:
            as in :class:`VideoUniFormer`. The stem rounds sizes up.

    Source: arXiv 2201.09450 and Sense-X/UniFormer, video_classification/slowfast/models/uniformer_light_fp32.py and
    uniformer_light_ls_fp32.py.
    """

    ndim = 3

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'xxs',
        in_channels: Positive = 3,
        keep_ratio: Fraction = 0.5,
        class_token: bool = False,
        drop_path_rate: Rate = 0.05,
        odd_size: Annotated[str, OneOf(ODD_SIZES)] = 'floor',
        norm_eps: Epsilon = 1e-6,
        patch_norm_eps: Epsilon = 1e-5,
        out_indices: Sequence[int] | int = (3,),
        norm_eval: bool = False,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        super().__init__(
            resolve_uniformer(arch, VIDEO_ARCHS),
            in_channels,
            keep_ratio,
            class_token,
            odd_size,
            patch_norm_eps,
            drop_path_rate=drop_path_rate,
            norm_eps=norm_eps,
            final_norm=True,
            out_indices=out_indices,
            norm_eval=norm_eval,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )


@MODELS.register_module()
class ImageUniFormerLight(LightUniFormer):
    """UniFormer-XXS and -XS for images, (B, C, H, W); outputs as those of :class:`ImageUniFormer`.

    Args:
        arch: 'xxs', 'xs', or a dict of depths, embed_dims, head_dim and mlp_ratio.
        final_norm, out_indices: as in :class:`ImageUniFormer`; all others as in :class:`VideoUniFormerLight`.

    Source: arXiv 2201.09450 and Sense-X/UniFormer, image_classification/models/uniformer_light.py.
    """

    ndim = 2

    def __init__(
        self,
        arch: str | Mapping[str, Any] = 'xxs',
        in_channels: Positive = 3,
        keep_ratio: Fraction = 0.5,
        class_token: bool = False,
        drop_path_rate: Rate = 0.0,
        odd_size: Annotated[str, OneOf(ODD_SIZES)] = 'floor',
        norm_eps: Epsilon = 1e-6,
        patch_norm_eps: Epsilon = 1e-5,
        final_norm: bool = False,
        out_indices: Sequence[int] | int | None = None,
        norm_eval: bool = False,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: InitCfg | None = None,
    ) -> None:
        super().__init__(
            resolve_uniformer(arch, IMAGE_ARCHS),
            in_channels,
            keep_ratio,
            class_token,
            odd_size,
            patch_norm_eps,
            drop_path_rate=drop_path_rate,
            norm_eps=norm_eps,
            final_norm=final_norm,
            out_indices=image_outputs(out_indices, final_norm),
            norm_eval=norm_eval,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
