"""Channels-last convolutions: they equal PyTorch's, and their gradients are exact."""

import pytest
import torch
from torch import nn

from vidtx_mm.layers import DepthwiseConv, PointwiseConv, batch_norm
from vidtx_mm.layers.kernels import depthwise
from vidtx_mm.layers.kernels.depthwise import CHANNELS_FIRST, CONVOLVE

CONVS = {2: nn.Conv2d, 3: nn.Conv3d}
NORMS = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def filled(*shape: int, **kwargs) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)), **kwargs)


@pytest.mark.parametrize(
    'grid, kernel',
    [
        ((3, 4, 5), (3, 3, 3)),
        ((2, 3, 5), (5, 5, 5)),
        ((2, 3, 4), (1, 5, 3)),
        ((1, 2, 3), (5, 3, 5)),  # fewer frames and rows than the kernel
        ((6, 5), (5, 5)),
        ((1, 1), (3, 3)),
    ],
)
def test_depthwise_gradients(grid, kernel):
    """The gradients of input, weight and bias agree with finite differences, the output with PyTorch's convolution."""
    dim = 3
    conv = DepthwiseConv(dim, kernel).double()
    reference = CONVS[len(kernel)](dim, dim, kernel, padding=[k // 2 for k in kernel], groups=dim).double()
    reference.load_state_dict(conv.state_dict())
    x = filled(2, *grid, dim, requires_grad=True)
    torch.testing.assert_close(conv(x), reference(x.movedim(-1, 1)).movedim(1, -1))

    def call(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(conv, dict(weight=weight, bias=bias), x)

    assert torch.autograd.gradcheck(call, (x, conv.weight, conv.bias))


def test_depthwise_gradients_under_autocast():
    torch.manual_seed(0)
    conv, x = DepthwiseConv(4, (3, 3, 3)), torch.randn(1, 4, 5, 6, 4, requires_grad=True)
    conv(x).square().sum().backward()
    exact = [t.grad.clone() for t in (x, conv.weight, conv.bias)]
    for t in (x, conv.weight, conv.bias):
        t.grad = None
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = conv(x)
    assert out.dtype == torch.bfloat16
    out.float().square().sum().backward()
    for tensor, expected in zip((x, conv.weight, conv.bias), exact, strict=True):
        assert tensor.grad.dtype == torch.float32
        torch.testing.assert_close(tensor.grad, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


@pytest.mark.parametrize('kernel', [(3, 3, 3), (5, 5)])
def test_grids_are_copied_where_channels_come_first(kernel, monkeypatch):
    """3-D grids on CUDA, for which the CPU stands here, reach PyTorch's convolution contiguous and come back so."""
    x, conv = filled(2, *kernel, 3), DepthwiseConv(3, kernel).double()
    convolve, seen = CONVOLVE[len(kernel) + 2], []

    def recorded(x: torch.Tensor, *args, **kwargs) -> torch.Tensor:
        seen.append(x.is_contiguous())
        return convolve(x, *args, **kwargs)

    monkeypatch.setitem(CONVOLVE, len(kernel) + 2, recorded)
    with torch.no_grad():
        expected = conv(x)
        assert 'cuda' in CHANNELS_FIRST
        monkeypatch.setattr(depthwise, 'CHANNELS_FIRST', {'cpu'})
        out = conv(x)
    assert seen == [False, len(kernel) == 3] and (len(kernel) == 2 or out.is_contiguous())
    torch.testing.assert_close(out, expected)


def test_depthwise_rejects_even_kernels():
    with pytest.raises(ValueError, match=r'kernel=\(3, 2\)'):
        DepthwiseConv(4, (3, 2))


@pytest.mark.parametrize('ndim', [2, 3])
@pytest.mark.parametrize('training', [True, False])
def test_pointwise_after_norm(ndim, training):
    """The result is the convolution of the norm's output, and every gradient agrees."""
    torch.manual_seed(0)
    conv = PointwiseConv(3, 5, ndim).double()
    reference = CONVS[ndim](3, 5, 1).double()
    reference.load_state_dict(conv.state_dict())
    norms = [NORMS[ndim](3).double() for _ in range(2)]
    for norm in norms:
        for tensor, value in ((norm.weight, 1.3), (norm.bias, 0.2), (norm.running_mean, 0.4), (norm.running_var, 1.7)):
            tensor.data.copy_(value * torch.arange(1, 4))
        norm.train(training)
    x = filled(2, *[4] * ndim, 3)
    ours = conv(batch_norm(norms[0], x))
    theirs = reference(norms[1](x.movedim(-1, 1))).movedim(1, -1)
    torch.testing.assert_close(ours, theirs)
    for out in (ours, theirs):
        out.square().sum().backward()
    for module, other in ((conv, reference), (norms[0], norms[1])):
        for (name, a), (_, b) in zip(module.named_parameters(), other.named_parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, msg=name)
    torch.testing.assert_close(dict(norms[0].named_buffers()), dict(norms[1].named_buffers()))


def test_batch_norm_can_be_synchronized():
    """The norm stays a plain module, which mmengine's sync_bn may replace."""
    norm, x = nn.BatchNorm3d(3).eval(), torch.randn(2, 2, 4, 4, 3)
    torch.testing.assert_close(batch_norm(norm, x), batch_norm(nn.SyncBatchNorm.convert_sync_batchnorm(norm), x))
