"""Multi-head softmax attention over groups of tokens."""

from torch import Tensor, nn
from torch.nn import functional as F

from .kernels import chunked, softmax_attention


class QkvProjection(nn.Module):
    """The projections of multi-head attention; subclasses say which tokens attend to which.

    The rows of ``qkv`` are q, then k, then v, each with its heads one after another (the order of the published ViT,
    Swin, UniFormer and TimeSformer weights).
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


class Attention(QkvProjection):
    """Attention within groups: the N tokens of each group in (..., N, C) attend to one another."""

    def forward(self, x: Tensor) -> Tensor:
        groups = x.flatten(0, -3)  # (G, N, C)
        return chunked(self._attend, groups, x.shape[-2] * self.qkv.out_features).view(x.shape)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = self.split_heads(x)  # (G, heads, N, C / heads)
        return self.join_heads(softmax_attention(q, k, v))  # (G, N, C)

    def first(self, x: Tensor) -> Tensor:
        """Return the first token of each group after :meth:`forward`, (..., 1, C), without computing the others."""
        groups = x.flatten(0, -3)  # (G, N, C)
        dim, heads = x.shape[-1], self.num_heads
        bias = (None, None) if self.qkv.bias is None else self.qkv.bias.split((dim, 2 * dim))
        query, key_value = self.qkv.weight.split((dim, 2 * dim))
        q = F.linear(groups[:, :1], query, bias[0]).unflatten(-1, (heads, -1)).transpose(1, 2)  # (G, heads, 1, D)
        kv = F.linear(groups, key_value, bias[1]).unflatten(-1, (2, heads, -1))  # (G, N, 2, heads, D)
        k, v = kv.permute(2, 0, 3, 1, 4).unbind(0)  # (G, heads, N, D)
        return self.join_heads(softmax_attention(q, k, v)).view(*x.shape[:-2], 1, dim)
