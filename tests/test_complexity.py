"""vidtx complexity: small modules counted by hand; tests/configs checks the configs."""

import pytest
import torch
from mmengine.config import Config
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from vidtx_mm.benchmark.complexity import Complexity, count, view_shape


class Attend(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return scaled_dot_product_attention(x, x, x)


def build(cls: type, *args: int, **kwargs: int) -> nn.Module:
    with torch.device('meta'):
        return cls(*args, **kwargs)


@pytest.mark.parametrize(
    ('model', 'shape', 'expected'),
    [
        (build(nn.Linear, 8, 5), (2, 7, 8), Complexity(8 * 5 + 5, 2 * 7 * 8 * 5)),
        (build(Attend), (2, 3, 10, 8), Complexity(0, 2 * 3 * (10 * 10 * 8) * 2)),
        (build(nn.Conv3d, 4, 4, 3, padding=1, groups=4), (1, 4, 5, 6, 7), Complexity(4 * 27 + 4, 4 * 27 * 5 * 6 * 7)),
    ],
    ids=['linear', 'attention', 'depthwise'],
)
def test_counts(model: nn.Module, shape: tuple[int, ...], expected: Complexity) -> None:
    assert count(model, shape) == expected


def test_the_view_is_read_from_the_test_pipeline() -> None:
    pipeline = [dict(type='A', clip_len=16), dict(type='B', crop_size=96)]
    cfg = Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))
    assert view_shape(cfg) == (3, 16, 96, 96)
    cfg.test_dataloader.dataset.pipeline = pipeline[:1]
    with pytest.raises(ValueError, match='crop_size'):
        view_shape(cfg)
