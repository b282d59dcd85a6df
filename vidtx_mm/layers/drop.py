"""Stochastic depth."""

import torch
from torch import Tensor, nn


class DropPath(nn.Module):
    """Drop a residual branch per sample with probability ``rate`` and rescale the kept ones (arXiv 1603.09382).

    A sample is an entry of the first axis. ``rescale=False`` leaves the kept ones as they are (ViViT's JAX code).
    """

    def __init__(self, rate: float = 0.0, rescale: bool = True) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f'drop path rate {rate} must be in [0, 1)')
        self.rate = rate
        self.rescale = rescale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        keep = 1 - self.rate
        mask = torch.empty(x.shape[0], *[1] * (x.dim() - 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * (mask / keep if self.rescale else mask)  # the shape of x

    def extra_repr(self) -> str:
        return f'rate={self.rate:.3f}' + ', rescale=False' * (not self.rescale)


def drop_path_rates(rate: float, depth: int) -> list[float]:
    """Return rates that rise linearly from 0 at the first block to ``rate`` at the last."""
    return [rate * block / max(depth - 1, 1) for block in range(depth)]
