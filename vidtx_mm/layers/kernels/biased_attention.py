"""Softmax attention with a bias that may be learned."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

CHUNK_VALUES = 2**20  # attention weights that the backward pass holds at a time, 4 MiB in float32


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + bias) v, (G, heads, N, D), with a bias (heads, N, N) that all groups share."""
    learned = torch.is_grad_enabled() and bias.requires_grad
    if learned and q.device.type == 'cpu' and not torch.compiler.is_compiling():
        return _CpuBiasedAttention.apply(q, k, v, bias)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None])


class _CpuBiasedAttention(torch.autograd.Function):
    """Fused attention whose backward pass recomputes the attention weights, a few groups of a head at a time.

    PyTorch's fused kernel has no gradient of the bias, and its plain one saves the weights of all groups.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        # The plain kernel is chosen for a bias that requires a gradient, even where none is recorded.
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.detach()[None])
        ctx.save_for_backward(q, k, v, bias, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        q, k, v, bias, out = ctx.saved_tensors
        gradient = gradient.to(q.dtype)
        groups, heads, tokens, dim = q.shape
        scale = dim**-0.5
        delta = (gradient * out).sum(-1, keepdim=True)  # (G, heads, N, 1)
        # In memory (G, N, 3, heads, D), as the projection has them.
        of_q, of_k, of_v = q.new_empty(groups, tokens, 3, heads, dim).permute(2, 0, 3, 1, 4).unbind(0)
        of_bias = torch.zeros_like(bias)
        step = max(CHUNK_VALUES // tokens**2, 1)
        for head in range(heads):
            for start in range(0, groups, step):
                at = slice(start, start + step), head
                scores = bias[head].to(q.dtype).expand(len(q[at]), -1, -1)
                weights = torch.baddbmm(scores, q[at], k[at].mT, alpha=scale).softmax(-1)  # (g, N, N)
                of_scores = torch.bmm(gradient[at], v[at].mT).sub_(delta[at]).mul_(weights)  # (g, N, N)
                of_v[at] = torch.bmm(weights.mT, gradient[at])
                of_q[at] = torch.bmm(of_scores, k[at]).mul_(scale)
                of_k[at] = torch.bmm(of_scores.mT, q[at]).mul_(scale)
                of_bias[head] += of_scores.sum(0, dtype=bias.dtype)
        return of_q, of_k, of_v, of_bias
