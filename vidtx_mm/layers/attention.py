"""Multi-head softmax attention over groups of tokens."""

from torch import Tensor, nn
from torch.nn import functional as F

from .parts import in_parts

# From this many tokens on, a CPU is faster with the keys and values of a head in one piece, which it reads many times.
LONG = 1024


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
        return self.proj(_side_by_side(x))

    def attend(self, x: Tensor) -> Tensor:
        """Let the N tokens of each group in (G, N, C) attend to one another; the result before ``proj``, (G, N, C)."""
        return in_parts(self._attend, x, x.shape[1] * self.qkv.out_features)

    def _attend(self, x: Tensor) -> Tensor:
        q, k, v = self.split_heads(x)
        if x.device.type == 'cpu' and x.shape[1] >= LONG:
            k, v = k.contiguous(), v.contiguous()
        return _side_by_side(F.scaled_dot_product_attention(q, k, v))

    def forward(self, x: Tensor) -> Tensor:
        """Let the N tokens of each group in (G, N, C) attend to one another."""
        return self.proj(self.attend(x))

    def first(self, x: Tensor) -> Tensor:
        """The (G, 1, C) that :meth:`forward` gives the first token of each group, without computing the others."""
        groups, tokens, dim = x.shape
        bias = (None, None) if self.qkv.bias is None else self.qkv.bias.split((dim, 2 * dim))
        query, key_value = self.qkv.weight.split((dim, 2 * dim))
        q = F.linear(x[:, :1], query, bias[0]).view(groups, 1, self.num_heads, -1).transpose(1, 2)
        k, v = (
            F.linear(x, key_value, bias[1]).view(groups, tokens, 2, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        )
        return self.join_heads(F.scaled_dot_product_attention(q, k, v))


def _side_by_side(heads: Tensor) -> Tensor:
    return heads.transpose(1, 2).flatten(2)
