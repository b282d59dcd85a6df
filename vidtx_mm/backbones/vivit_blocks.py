"""Blocks of ViViT (Arnab et al., arXiv 2103.15691, section 3.3).

Tokens are (B, G, N, C): G groups of N tokens, which attend to one another within their group. A joint sequence is one
group; for the factorized models a group is a frame.
"""

import torch
from torch import Tensor, nn

from ..layers import Attention, DropPath, Mlp, softmax_attention

NORM_EPS = 1e-6
AXES = {'space_first': ('space', 'time'), 'time_first': ('time', 'space')}  # order: axes of the two attentions


class EncoderBlock(nn.Module):
    """Pre-norm block: attention within groups, then MLP, each with a residual (models 1, 2 and 4)."""

    def __init__(self, dim: int, attn: Attention, mlp_ratio: float, drop_path: DropPath) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = attn
        self.drop_path = drop_path
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), gelu='tanh')

    def attend(self, x: Tensor) -> Tensor:
        return self.attn(self.norm1(x))  # (B, G, N, C)

    def forward(self, x: Tensor, class_only: bool = False) -> Tensor:
        """With ``class_only``, return the first token of each group alone, (B, G, 1, C)."""
        if class_only:
            x = x[:, :, :1] + self.drop_path(self.attn.first(self.norm1(x)))  # (B, G, 1, C)
        else:
            x = x + self.drop_path(self.attend(x))  # (B, G, N, C)
        return x + self.drop_path(self.mlp(self.norm2(x)))


class SelfAttentionBlock(nn.Module):
    """Pre-norm block: attention within each frame and attention over time, then MLP (model 3, equations 4 to 6)."""

    def __init__(
        self, dim: int, attn: nn.Module, temporal_attn: nn.Module, mlp_ratio: float, drop_path: DropPath, order: str
    ) -> None:
        super().__init__()
        self.axes = AXES[order]
        self.norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.attn = attn
        self.drop_path = drop_path
        self.norm2 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), gelu='tanh')
        self.temporal_norm1 = nn.LayerNorm(dim, eps=NORM_EPS)
        self.temporal_attn = temporal_attn

    def init_branches(self) -> None:
        """Let the attention over time start without effect.

        The paper sets all its weights to zero, from where only the last bias can ever learn; a zero output projection
        has the same effect and lets every weight learn.
        """
        for parameter in self.temporal_attn.get_submodule('proj').parameters():
            nn.init.zeros_(parameter)

    def attend(self, x: Tensor) -> Tensor:
        return self.attn(self.norm1(x))  # (B, T, N, C)

    def attend_over_time(self, x: Tensor) -> Tensor:
        places = self.temporal_norm1(x.transpose(1, 2))  # (B, N, T, C)
        return self.temporal_attn(places).transpose(1, 2)  # (B, T, N, C)

    def forward(self, x: Tensor) -> Tensor:
        for axis in self.axes:
            x = x + self.drop_path(self.attend(x) if axis == 'space' else self.attend_over_time(x))  # (B, T, N, C)
        return x + self.drop_path(self.mlp(self.norm2(x)))  # (B, T, N, C)


class SplitAttention(Attention):
    """Attention of model 4 (equation 7): half of the heads attend over time, half within each frame; (B, T, N, C)."""

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        if num_heads % 2:
            raise ValueError(
                f'num_heads={num_heads}: half of the heads attend over time, half in space; give an even number'
            )
        super().__init__(dim, num_heads, qkv_bias)

    def within_groups(self, qkv: Tensor) -> Tensor:
        """Let half of the heads attend: (B, G, N, 3, C / 2) -> (B, G, N, C / 2)."""
        q, k, v = qkv.flatten(0, 1).unflatten(-1, (self.num_heads // 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return softmax_attention(q, k, v).transpose(1, 2).reshape(*qkv.shape[:3], -1)

    def forward(self, x: Tensor) -> Tensor:
        time, space = self.qkv(x).unflatten(-1, (3, 2, -1)).unbind(-2)  # 2 x (B, T, N, 3, C / 2)
        time = self.within_groups(time.transpose(1, 2)).transpose(1, 2)  # (B, T, N, C / 2)
        return self.proj(torch.cat([time, self.within_groups(space)], -1))  # (B, T, N, C)
