"""Stride-one convolutions on channels-last grids (B, *grid, C), with the parameters of PyTorch's convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight
from torch.nn.modules.batchnorm import _BatchNorm

from .tokenizer import CONVS

FAST_COLUMNS = 3  # oneDNN's depthwise weight gradient falls back to a slow kernel for wider kernels


class DepthwiseConv(nn.Module):
    """A depthwise convolution with zero padding that keeps the grid: (B, *grid, C) -> the same.

    ``kernel`` has one odd entry per axis of the grid. The weight is (C, 1, *kernel), as in ``nn.Conv2d`` and
    ``nn.Conv3d``.
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, dim: int, kernel: Sequence[int]) -> None:
        super().__init__()
        if any(size % 2 == 0 for size in kernel):
            raise ValueError(f'kernel={tuple(kernel)}: only odd sizes keep the grid')
        conv = CONVS[len(kernel)](dim, dim, tuple(kernel), groups=dim)  # type: ignore[arg-type]
        self.weight, self.bias = conv.weight, conv.bias  # type: ignore[assignment]

    def forward(self, x: Tensor) -> Tensor:
        if self.weight.dim() == 4:
            return _depthwise(x.unsqueeze(1), self.weight.unsqueeze(2), self.bias).squeeze(1)
        return _depthwise(x, self.weight, self.bias)


class PointwiseConv(nn.Module):
    """A convolution with a kernel of one, which is a linear layer over the last axis; weight (dim, C, 1, ...)."""

    weight: nn.Parameter
    bias: nn.Parameter

    def __init__(self, in_channels: int, dim: int, ndim: int) -> None:
        super().__init__()
        conv = CONVS[ndim](in_channels, dim, 1)
        self.weight, self.bias = conv.weight, conv.bias  # type: ignore[assignment]

    def forward(self, x: Tensor, norm: _BatchNorm | None = None) -> Tensor:
        """Convolve the output of ``norm``. In eval mode the norm is an affine map, which joins the weights."""
        if norm is None or norm.training:
            return F.linear(x if norm is None else batch_norm(norm, x), self.weight.flatten(1), self.bias)
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        shift = norm.bias - norm.running_mean * scale
        weight = self.weight.flatten(1)
        return F.linear(x, weight * scale, self.bias + (weight * shift).sum(1))


def batch_norm(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a channels-first norm to (B, *grid, C). The norm stays a plain module, so that SyncBN can replace it."""
    return norm(x.movedim(-1, 1)).movedim(1, -1)


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if x.device.type == 'cpu' and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _CpuDepthwise.apply(x, weight, bias)
    return _convolve(x, weight, bias)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = [size // 2 for size in weight.shape[2:]]
    return F.conv3d(x.movedim(-1, 1), weight, bias, padding=padding, groups=weight.shape[0]).movedim(1, -1)


class _CpuDepthwise(torch.autograd.Function):
    """The depthwise convolution of (B, T, H, W, C) with the gradients that PyTorch lacks fast kernels for on CPUs.

    The gradient of the input is the convolution with the reversed kernel; that of the weight is taken from 2-D
    convolutions, one for each frame of the kernel and group of columns.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        gradient = gradient.to(weight.dtype)
        return (
            _convolve(gradient, weight.flip(2, 3, 4), None).to(x.dtype) if of_x else None,
            _weight_gradient(x.to(weight.dtype), gradient, weight.shape) if of_weight else None,
            gradient.sum((0, 1, 2, 3)) if of_bias else None,
        )


def _weight_gradient(x: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor:
    """Gradient of the weight of ``shape`` (C, 1, t, h, w), from the input and the output's gradient (B, T, H, W, C)."""
    channels, _, frames, rows, columns = shape
    # Time first, so that a run of frames is one block of memory.
    gradient = gradient.transpose(0, 1).contiguous()
    x = F.pad(x.transpose(0, 1), (0, 0, columns // 2, columns // 2))
    total, _, _, width, _ = gradient.shape
    result = gradient.new_zeros(shape)
    for first in range(0, columns, FAST_COLUMNS):
        last = min(first + FAST_COLUMNS, columns)
        shifted = x[..., first : last + width - 1, :].contiguous()
        for frame in range(frames):
            ahead, behind = max(frame - frames // 2, 0), max(frames // 2 - frame, 0)
            if ahead + behind < total:
                result[:, :, frame, :, first:last] = conv2d_weight(
                    shifted[ahead : total - behind].flatten(0, 1).movedim(-1, 1),
                    (channels, 1, rows, last - first),
                    gradient[behind : total - ahead].flatten(0, 1).movedim(-1, 1),
                    padding=(rows // 2, 0),
                    groups=channels,
                )
    return result
