"""Softmax attention in runs of as many groups as the device takes."""

import torch
from torch import Tensor
from torch.nn import functional as F

MAX_GROUPS = {'cuda': 2**16 - 1}  # blocks of a grid along its second and third axis


def softmax_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(D)) v, (G, heads, N, D)."""
    limit = MAX_GROUPS.get(q.device.type)
    if limit is None or len(q) <= limit:
        return F.scaled_dot_product_attention(q, k, v)
    runs = zip(*(y.split(limit) for y in (q, k, v)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(*run) for run in runs])
