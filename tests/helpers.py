"""Parts that tests of several folders share."""

import os
from typing import Any

import torch
from torch import Tensor, nn


def elsewhere(**extra: str) -> dict[str, str]:
    """Return the environment of a user: no path to this checkout, no GPU, one thread per process."""
    inherited = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIDTX_MM_NO_REPAIR')}
    return inherited | {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''} | extra


def randomized(model: nn.Module, seed: int = 0) -> Any:
    """Move every parameter and running statistic off its initial value, and return the model in eval mode.

    Zero biases, unit scales and branches that start at zero would hide a mistake in what they multiply.
    """
    generator = torch.Generator().manual_seed(seed)

    def noise(tensor: Tensor) -> Tensor:
        return torch.randn(tensor.shape, dtype=tensor.dtype, generator=generator)

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * noise(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith('running_mean'):
                buffer.add_(0.1 * noise(buffer))
            elif name.endswith('running_var'):
                buffer.mul_(1 + 0.3 * torch.rand(buffer.shape, dtype=buffer.dtype, generator=generator))
    return model.eval()


class Recognizer(nn.Module):
    """The parts of MMAction2's Recognizer3D that loading sees."""

    def __init__(self, backbone: nn.Module, classes: int = 5, norm: float | None = None, to_rgb: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = nn.Module()
        self.cls_head.fc_cls = nn.Linear(backbone.out_channels[-1], classes)
        self.data_preprocessor = nn.Module()
        self.data_preprocessor.to_rgb = to_rgb
        if norm is not None:
            for name in ('mean', 'std'):
                self.data_preprocessor.register_buffer(name, torch.full((3, 1, 1, 1), norm), persistent=False)
