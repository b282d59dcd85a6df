"""Depthwise convolution of channels-last grids, by kernels that are fast on the device."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.grad import conv2d_weight

CONVOLVE = {4: F.conv2d, 5: F.conv3d}  # by the axes of the weight
CHANNELS_FIRST = {'cuda'}  # PyTorch has a 3-D depthwise kernel there, but gives channels-last grids to cuDNN
FAST_COLUMNS = 3  # oneDNN has no fast depthwise weight gradient for wider kernels


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve (B, *grid, C) with a weight (C, 1, *kernel) of odd sizes, zero-padded so that the grid stays."""
    slow_gradient = weight.dim() == 5 or weight.shape[-1] > FAST_COLUMNS
    if x.device.type == 'cpu' and slow_gradient and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return _CpuDepthwise.apply(x, weight, bias)
    return _convolve(x, weight, bias)


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    padding = [size // 2 for size in weight.shape[2:]]
    copied = weight.dim() == 5 and x.device.type in CHANNELS_FIRST
    x = x.movedim(-1, 1).contiguous() if copied else x.movedim(-1, 1)
    x = CONVOLVE[weight.dim()](x, weight, bias, padding=padding, groups=weight.shape[0]).movedim(1, -1)
    return x.contiguous() if copied else x


class _CpuDepthwise(torch.autograd.Function):
    """The convolution with its gradients written as convolutions that oneDNN has fast kernels for.

    The gradient of the input is a convolution with the reversed kernel. The gradient of the weight is a sum of 2-D
    weight gradients, one per frame and group of columns of the kernel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        x_needed, weight_needed, bias_needed = ctx.needs_input_grad
        gradient = gradient.to(weight.dtype)
        grid = tuple(range(2, weight.dim()))
        return (
            _convolve(gradient, weight.flip(grid), None).to(x.dtype) if x_needed else None,
            _weight_gradient(x.to(weight.dtype), gradient, weight) if weight_needed else None,
            gradient.flatten(0, -2).sum(0) if bias_needed else None,
        )


def _weight_gradient(x: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
    """Return the gradient of the weight from the input and the gradient of the output, both (B, *grid, C)."""
    if weight.dim() == 4:
        return _weight_gradient(x.unsqueeze(1), gradient.unsqueeze(1), weight.unsqueeze(2)).squeeze(2)
    channels, _, frames, rows, columns = weight.shape
    # Time first, so that consecutive frames are one block of memory.
    gradient = gradient.transpose(0, 1).contiguous()  # (T, B, H, W, C)
    x = F.pad(x.transpose(0, 1), (0, 0, columns // 2, columns // 2))  # (T, B, H, W + padding, C)
    total, _, _, width, _ = gradient.shape
    result = gradient.new_zeros(weight.shape)
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
