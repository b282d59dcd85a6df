"""Multi-head softmax attention over groups of tokens."""

from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Multi-head attention on a batch of token groups, computed by ``scaled_dot_product_attention``.

    The rows of ``qkv`` are q, then k, then v, each with its heads one after another (the order of ViT, Swin, UniFormer
    and TimeSformer files).
    """

    def __init__(self, dim: int, num_heads: int, qkv_bias: bool = True) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f'num_heads={num_heads} does not divide the {dim} channels')
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def split_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Project (G, N, C) tokens to q, k and v, each (G, heads, N, C / heads)."""
        groups, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(groups, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def join_heads(self, x: Tensor) -> Tensor:
        """Project (G, heads, N, C / heads) back to (G, N, C)."""
        return self.proj(x.transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        """Let the N tokens of each group in (G, N, C) attend to one another."""
        return self.join_heads(F.scaled_dot_product_attention(*self.split_heads(x)))
