"""The attention schemes of TimeSformer (Bertasius et al., arXiv 2102.05095, section 3 and figure 2) and its block."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..layers import (
    HEIGHT,
    JOINT,
    SPACE,
    TIME,
    WIDTH,
    Attention,
    Axes,
    DropPath,
    Mlp,
    NeighborhoodAttention,
    QkvProjection,
    merge_lattices,
    split_lattices,
)

NORM_EPS = 1e-6
ORDERS = ('time_first', 'space_first', 'parallel')


@dataclass(frozen=True)
class Scheme:
    """One of the attention schemes of section 3 and figure 2.

    ``partition`` groups the patches of the attention that an image ViT has too; the class token is in every group.
    ``added`` are the further attentions, by the first word of their parameters' names, in the order of computation: the
    class token is in none of their groups. ``stride`` thins the grid out before it is grouped.
    """

    partition: Axes
    added: Mapping[str, tuple[Axes, type[QkvProjection]]] = field(default_factory=dict)
    stride: int = 1


SCHEMES = {
    'space': Scheme(SPACE),
    'joint': Scheme(JOINT),
    'divided': Scheme(SPACE, added={'temporal': (TIME, Attention)}),
    'local_global': Scheme(JOINT, added={'local': (Axes('b t h w c'), NeighborhoodAttention)}, stride=2),
    'axial': Scheme(HEIGHT, added={'temporal': (TIME, Attention), 'width': (WIDTH, Attention)}),
}


class TimeSformerBlock(nn.Module):
    """The attentions of a scheme and an MLP, each normed before and added to its input.

    (B, 1 + T*H*W, C) -> the same, the class token first, then the patches in the order of time, row and column.
    Stochastic depth drops whole groups of an attention, and an added attention before its ``fc``, as in the official
    code.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        scheme: Scheme,
        order: str,
        mlp_ratio: float,
        qkv_bias: bool,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.order = order
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, num_heads, qkv_bias)
        for name, (_, attention) in scheme.added.items():
            self.add_module(f'{name}_norm1', nn.LayerNorm(dim, eps=NORM_EPS))
            self.add_module(f'{name}_attn', attention(dim, num_heads, qkv_bias))
            self.add_module(f'{name}_fc', nn.Linear(dim, dim))
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def zero_added(self) -> None:
        """Let the added attentions start without effect (section 4, and facebookresearch/TimeSformer issue 29)."""
        for name in self.scheme.added:
            for parameter in getattr(self, f'{name}_fc').parameters():
                nn.init.zeros_(parameter)

    def attend_added(self, name: str, patches: Tensor) -> Tensor:
        """The residual of an added attention for (B, T, H, W, C) patches."""
        partition, _ = self.scheme.added[name]
        norm, attention, fc = (getattr(self, f'{name}_{part}') for part in ('norm1', 'attn', 'fc'))
        tokens, layout = partition.split(norm(patches))
        return partition.merge(fc(self.drop_path(attention(tokens))), layout)

    def groups(self, cls: Tensor, patches: Tensor) -> list[tuple[Tensor, Any]]:
        """The normed (G, 1 + N, C) groups that hold the class token (B, 1, C) each, and their layouts."""
        cls = self.norm1(cls)
        groups = []
        for lattice in split_lattices(self.norm1(patches), self.scheme.stride):
            tokens, layout = self.scheme.partition.split(lattice)
            repeated = cls.expand(-1, tokens.shape[0] // cls.shape[0], -1).reshape(-1, 1, cls.shape[-1])
            groups.append((torch.cat([repeated, tokens], 1), layout))
        return groups

    def attend(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """The residuals of the class token (B, 1, C), averaged over the groups, and of the patches (B, T, H, W, C)."""
        class_residuals, patch_residuals = [], []
        for tokens, layout in self.groups(cls, patches):
            residual = self.drop_path(self.attn(tokens))
            class_residuals.append(residual[:, 0].unflatten(0, (cls.shape[0], -1)))
            patch_residuals.append(self.scheme.partition.merge(residual[:, 1:], layout))
        averaged = torch.cat(class_residuals, 1).mean(1, keepdim=True)
        return averaged, merge_lattices(patch_residuals, patches.shape, self.scheme.stride)

    def attend_class(self, cls: Tensor, patches: Tensor) -> Tensor:
        """The first result of :meth:`attend`, without computing the second."""
        residuals = [self.drop_path(self.attn.first(tokens)) for tokens, _ in self.groups(cls, patches)]
        return torch.cat([r.unflatten(0, (cls.shape[0], -1)) for r in residuals], 1).mean(1)

    def forward(self, x: Tensor, grid: tuple[int, int, int], class_only: bool = False) -> Tensor:
        """With ``class_only``, return the class token alone, (B, 1, C), and compute no more than it needs."""
        cls, patches = x[:, :1], x[:, 1:].unflatten(1, grid)
        if self.order == 'time_first':
            for name in self.scheme.added:
                patches = patches + self.attend_added(name, patches)
        if class_only:
            x = cls + self.attend_class(cls, patches)
        else:
            class_residual, residual = self.attend(cls, patches)
            if self.order == 'parallel':
                residual = sum((self.attend_added(name, patches) for name in self.scheme.added), residual)
            patches = patches + residual
            if self.order == 'space_first':
                for name in self.scheme.added:
                    patches = patches + self.attend_added(name, patches)
            x = torch.cat([cls + class_residual, patches.flatten(1, 3)], 1)
        return x + self.drop_path(self.mlp(self.norm2(x)))
