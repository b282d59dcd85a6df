"""The blocks of ViViT (Arnab et al., arXiv 2103.15691, section 3.3).

Tokens are (B, G, N, C): G groups of N tokens, which attend to one another within their group. A joint sequence is one
group; for the factorized models a group is a frame.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import Attention, DropPath, Mlp, QkvProjection

NORM_EPS = 1e-6
ORDERS = {'space_first': ('space', 'time'), 'time_first': ('time', 'space')}


class EncoderBlock(nn.Module):
    """Attention within the groups and an MLP, each normed before and added to its input (models 1 and 2)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, qkv_bias: bool, drop_path: DropPath) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = Attention(dim, num_heads, qkv_bias)
        self.drop_path = drop_path
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), gelu='tanh')

    def attend(self, x: Tensor) -> Tensor:
        return self.attn(self.norm1(x))

    def attend_class(self, x: Tensor) -> Tensor:
        """The (B, G, 1, C) that :meth:`attend` gives the first token of each group."""
        return self.attn.first(self.norm1(x))

    def forward(self, x: Tensor, class_only: bool = False) -> Tensor:
        """With ``class_only``, return the first token of each group, and compute no more than it needs."""
        if class_only:
            x = x[:, :, :1] + self.drop_path(self.attend_class(x))
        else:
            x = x + self.drop_path(self.attend(x))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class SelfAttentionBlock(EncoderBlock):
    """Attention within each frame and attention over time, one after the other, and an MLP (model 3, eq. 4-6)."""

    def __init__(
        self, dim: int, num_heads: int, mlp_ratio: float, qkv_bias: bool, drop_path: DropPath, order: str
    ) -> None:
        super().__init__(dim, num_heads, mlp_ratio, qkv_bias, drop_path)
        self.order = ORDERS[order]
        self.temporal_norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.temporal_attn = Attention(dim, num_heads, qkv_bias)

    def zero_temporal(self) -> None:
        """Let the attention over time start without effect.

        The paper sets all its weights to zero, from where only the last bias can ever learn; zeroing the output
        projection alone has the same effect at the start and lets every weight learn.
        """
        nn.init.zeros_(self.temporal_attn.proj.weight)
        nn.init.zeros_(self.temporal_attn.proj.bias)

    def attend_over_time(self, x: Tensor) -> Tensor:
        places = self.temporal_norm1(x.transpose(1, 2))  # (B, N, T, C)
        return self.temporal_attn(places).transpose(1, 2)  # (B, T, N, C)

    def forward(self, x: Tensor, class_only: bool = False) -> Tensor:
        for axis in self.order:
            x = x + self.drop_path(self.attend(x) if axis == 'space' else self.attend_over_time(x))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class SplitAttention(QkvProjection):
    """Attention whose first half of the heads looks along time and the second within each frame: (B, T, N, C)."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        if num_heads % 2:
            raise ValueError(
                f'num_heads={num_heads}: half of the heads look along time, half in space; give an even number'
            )
        super().__init__(dim, num_heads, qkv_bias)

    def within_groups(self, qkv: Tensor) -> Tensor:
        """(B, G, N, 3, C / 2) -> (B, G, N, C / 2)."""
        q, k, v = qkv.flatten(0, 1).unflatten(-1, (self.num_heads // 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(*qkv.shape[:3], -1)

    def forward(self, x: Tensor) -> Tensor:
        time, space = self.qkv(x).unflatten(-1, (3, 2, -1)).unbind(-2)
        time = self.within_groups(time.transpose(1, 2)).transpose(1, 2)
        return self.proj(torch.cat([time, self.within_groups(space)], -1))


class DotProductBlock(EncoderBlock):
    """As model 1, but half of the heads look along time, half within each frame (model 4, eq. 7)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, qkv_bias: bool, drop_path: DropPath) -> None:
        super().__init__(dim, num_heads, mlp_ratio, qkv_bias, drop_path)
        self.attn = SplitAttention(dim, num_heads, qkv_bias)

    def attend(self, x: Tensor) -> Tensor:
        return self.attn(self.norm1(x))
