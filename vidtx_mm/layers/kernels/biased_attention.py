"""Softmax attention with a bias that may be learned and with masks that groups of windows share."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .softmax_attention import softmax_attention

CHUNK_VALUES = 2**20  # attention weights that the backward pass holds at a time, 4 MiB in float32
MASKED = -100.0  # added to the scores of masked pairs, as published
# Consecutive windows and their mask (N, N), True where two tokens must not attend to each other.
WindowGroups = Sequence[tuple[int, Tensor | None]]


def biased_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, groups: WindowGroups) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + bias + mask) v, (G, heads, N, D), with a bias (heads, N, N) for all windows.

    In memory the result is (G, N, heads, D), as the next projection reads it.
    """
    learned = torch.is_grad_enabled() and bias.requires_grad
    if learned and q.device.type == 'cpu' and not torch.compiler.is_compiling():
        return _CpuBiasedAttention.apply(q, k, v, bias, groups)
    return _attend(q, k, v, bias, groups)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, groups: WindowGroups) -> Tensor:
    windows = [count for count, _ in groups]
    outputs = [
        softmax_attention(q, k, v, _masked(bias, mask)).transpose(1, 2)
        for (_, mask), q, k, v in zip(groups, q.split(windows), k.split(windows), v.split(windows), strict=True)
    ]
    return (outputs[0] if len(outputs) == 1 else torch.cat(outputs)).transpose(1, 2)


def _masked(bias: Tensor, mask: Tensor | None) -> Tensor:
    return bias if mask is None else bias + MASKED * mask


class _CpuBiasedAttention(torch.autograd.Function):
    """Fused attention whose backward pass recomputes the attention weights, a few windows of a head at a time.

    PyTorch's fused kernel has no gradient of the bias, and its plain one saves the weights of all windows.
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor, groups: WindowGroups) -> Tensor:
        # The plain kernel is chosen for a bias that requires a gradient, even where none is recorded.
        out = _attend(q, k, v, bias.detach(), groups)
        ctx.save_for_backward(q, k, v, bias, out)
        ctx.groups = groups
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        q, k, v, bias, out = ctx.saved_tensors
        gradient = gradient.to(q.dtype)
        windows, heads, tokens, dim = q.shape
        scale = dim**-0.5
        delta = (gradient * out).sum(-1, keepdim=True)  # (G, heads, N, 1)
        # In memory (G, N, 3, heads, D), as the projection has them.
        of_q, of_k, of_v = q.new_empty(windows, tokens, 3, heads, dim).permute(2, 0, 3, 1, 4).unbind(0)
        of_bias = torch.zeros_like(bias)
        for head in range(heads):
            for chunk, mask in _chunks(ctx.groups, max(CHUNK_VALUES // tokens**2, 1)):
                at = chunk, head
                scores = _masked(bias[head], mask).to(q.dtype).expand(len(q[at]), -1, -1)
                weights = torch.baddbmm(scores, q[at], k[at].mT, alpha=scale).softmax(-1)  # (g, N, N)
                of_scores = torch.bmm(gradient[at], v[at].mT).sub_(delta[at]).mul_(weights)  # (g, N, N)
                of_v[at] = torch.bmm(weights.mT, gradient[at])
                of_q[at] = torch.bmm(of_scores, k[at]).mul_(scale)
                of_k[at] = torch.bmm(of_scores.mT, q[at]).mul_(scale)
                of_bias[head] += of_scores.sum(0, dtype=bias.dtype)
        return of_q, of_k, of_v, of_bias, None


def _chunks(groups: WindowGroups, size: int) -> Iterator[tuple[slice, Tensor | None]]:
    """Yield slices of at most ``size`` windows with the mask of each."""
    start = 0
    for windows, mask in groups:
        for first in range(start, start + windows, size):
            yield slice(first, min(first + size, start + windows)), mask
        start += windows
