"""Attention schemes of TimeSformer (Bertasius et al., arXiv 2102.05095, section 3 and figure 2) and its block."""

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
DIVIDED_ORDERS = ('time_first', 'space_first', 'parallel')


@dataclass(frozen=True)
class Scheme:
    """An attention scheme of section 3 and figure 2.

    ``partition`` groups the patches for the attention that an image ViT has too; the class token joins every group.
    ``added`` lists further attentions by the prefix of their parameters, in order of computation; the class token is
    not in their groups. ``stride`` splits the grid into lattices before it is grouped.
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
    """Pre-norm block: the attentions of a scheme, then MLP, each with a residual.

    (B, 1 + T*H*W, C) -> the same: the class token, then the patches in the order of time, row and column. Stochastic
    depth drops whole groups of an attention, and an added attention before its ``fc``, as in the official code.

    Args:
        attn: attention of (G, 1 + N, C) groups with class token.
        added: added attentions by the names of ``scheme.added``.
    """

    def __init__(
        self,
        dim: int,
        scheme: Scheme,
        order: str,
        attn: Attention,
        added: Mapping[str, nn.Module],
        mlp_ratio: float,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.scheme = scheme
        self.order = order
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = attn
        for name, attention in added.items():
            self.add_module(f'{name}_norm1', nn.LayerNorm(dim, eps=NORM_EPS))
            self.add_module(f'{name}_attn', attention)
            self.add_module(f'{name}_fc', nn.Linear(dim, dim))
        self.drop_path = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def init_branches(self) -> None:
        """Let the added attentions start without effect (section 4, and facebookresearch/TimeSformer issue 29)."""
        for name in self.scheme.added:
            for parameter in self.get_submodule(f'{name}_fc').parameters():
                nn.init.zeros_(parameter)

    def attend_added(self, name: str, patches: Tensor) -> Tensor:
        """Return the residual of an added attention for (B, T, H, W, C) patches."""
        partition, _ = self.scheme.added[name]
        norm, attn, fc = (self.get_submodule(f'{name}_{part}') for part in ('norm1', 'attn', 'fc'))
        groups, layout = partition.split(norm(patches))  # (G, N, C)
        return partition.merge(fc(self.drop_path(attn(groups))), layout)

    def groups(self, cls: Tensor, patches: Tensor) -> list[tuple[Tensor, Any]]:
        """Return the normed (G, 1 + N, C) groups, each with the class token (B, 1, C), and their layouts."""
        cls = self.norm1(cls)
        groups = []
        for lattice in split_lattices(self.norm1(patches), self.scheme.stride):
            tokens, layout = self.scheme.partition.split(lattice)  # (G, N, C)
            repeated = cls.expand(-1, tokens.shape[0] // cls.shape[0], -1).reshape(-1, 1, cls.shape[-1])  # (G, 1, C)
            groups.append((torch.cat([repeated, tokens], 1), layout))
        return groups

    def attend(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the residuals of the class token (B, 1, C), averaged over groups, and of (B, T, H, W, C) patches."""
        class_residuals, patch_residuals = [], []
        for tokens, layout in self.groups(cls, patches):
            residual = self.drop_path(self.attn(tokens))  # (G, 1 + N, C)
            class_residuals.append(residual[:, 0].unflatten(0, (cls.shape[0], -1)))
            patch_residuals.append(self.scheme.partition.merge(residual[:, 1:], layout))
        averaged = torch.cat(class_residuals, 1).mean(1, keepdim=True)  # (B, 1, C)
        return averaged, merge_lattices(patch_residuals, patches.shape, self.scheme.stride)

    def attend_class(self, cls: Tensor, patches: Tensor) -> Tensor:
        """Return the residual of the class token of :meth:`attend` alone."""
        residuals = [self.drop_path(self.attn.first(tokens)) for tokens, _ in self.groups(cls, patches)]
        return torch.cat([r.unflatten(0, (cls.shape[0], -1)) for r in residuals], 1).mean(1)  # (B, 1, C)

    def forward(self, x: Tensor, grid: tuple[int, int, int], class_only: bool = False) -> Tensor:
        """With ``class_only``, return the class token alone, (B, 1, C)."""
        cls, patches = x[:, :1], x[:, 1:].unflatten(1, grid)  # (B, 1, C), (B, T, H, W, C)
        if self.order == 'time_first':
            for name in self.scheme.added:
                patches = patches + self.attend_added(name, patches)
        if class_only:
            x = cls + self.attend_class(cls, patches)  # (B, 1, C)
        else:
            class_residual, residual = self.attend(cls, patches)
            if self.order == 'parallel':
                residual = sum((self.attend_added(name, patches) for name in self.scheme.added), residual)
            patches = patches + residual
            if self.order == 'space_first':
                for name in self.scheme.added:
                    patches = patches + self.attend_added(name, patches)
            x = torch.cat([cls + class_residual, patches.flatten(1, 3)], 1)  # (B, 1 + T*H*W, C)
        return x + self.drop_path(self.mlp(self.norm2(x)))
