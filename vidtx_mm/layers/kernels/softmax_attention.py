"""Softmax attention in runs of as many groups as the device takes."""

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_GROUPS = {'cuda': 2**16 - 1}  # blocks of a grid along its second and third axis


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return softmax(q k^T / sqrt(D) + bias) v, (G, heads, N, D), with a bias (heads, N, N) for all groups."""
    attend = partial(F.scaled_dot_product_attention, attn_mask=None if bias is None else bias[None])
    limit = MAX_GROUPS.get(q.device.type)
    if limit is None or len(q) <= limit:
        return attend(q, k, v)
    runs = zip(*(y.split(limit) for y in (q, k, v)), strict=True)
    return torch.cat([attend(*run) for run in runs])
