"""Stride-one convolutions on channels-last grids (B, *grid, C), with the parameters of PyTorch's convolutions."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .kernels import depthwise_conv
from .tokenizer import CONVS


class DepthwiseConv(nn.Module):
    """Depthwise convolution with zero padding that keeps the grid: (B, *grid, C) -> the same.

    ``kernel`` has one odd entry per axis of the grid. The weight is (C, 1, *kernel), as in ``nn.Conv2d`` and
    ``nn.Conv3d``.
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, dim: int, kernel: Sequence[int]) -> None:
        super().__init__()
        if any(size % 2 == 0 for size in kernel):
            raise ValueError(f'kernel={tuple(kernel)}: give odd sizes, which keep the grid')
        conv = CONVS[len(kernel)](dim, dim, tuple(kernel), groups=dim)  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return depthwise_conv(x, self.weight, self.bias)  # (B, *grid, C)


class PointwiseConv(nn.Module):
    """Convolution with a kernel of one, that is a linear layer over the last axis; the weight is (dim, C, 1, ...)."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, in_channels: int, dim: int, ndim: int) -> None:
        super().__init__()
        conv = CONVS[ndim](in_channels, dim, 1)
        self.weight, self.bias = conv.weight, conv.bias  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.flatten(1), self.bias)  # (B, *grid, dim)


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a channels-first norm to (B, *grid, C). The norm stays a plain module, so that SyncBN can replace it."""
    return norm(x.movedim(-1, 1)).movedim(1, -1)
