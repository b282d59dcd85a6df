"""The head of the light UniFormers."""

import pytest
import torch
from mmaction.structures import ActionDataSample

from vidtx_mm.heads import VideoClsHead, VideoTokenClsHead


def labeled(*labels: int) -> list[ActionDataSample]:
    return [ActionDataSample().set_gt_label(label) for label in labels]


def features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 8, 1, 2, 2, generator=generator), torch.randn(2, 8, generator=generator)


def test_loss_is_the_mean_of_both():
    head, samples = VideoTokenClsHead(4, 8, dropout_ratio=0.0, topk=(1,)), labeled(1, 3)
    features_, token = features()
    losses = head.loss((features_, token), samples)
    target = torch.tensor([1, 3])
    of_map = torch.nn.functional.cross_entropy(head.fc_cls(features_.mean((2, 3, 4))), target)
    of_token = torch.nn.functional.cross_entropy(head.fc_token(token), target)
    torch.testing.assert_close(losses['loss_cls'], (of_map + of_token) / 2)
    losses['loss_cls'].backward()
    assert all(p.grad.abs().sum() > 0 for p in head.parameters())


def test_scores_are_those_of_the_map():
    head = VideoTokenClsHead(4, 8).eval()
    plain = VideoClsHead(4, 8).eval()
    plain.fc_cls.load_state_dict(head.fc_cls.state_dict())
    features_, token = features()
    assert torch.equal(head((features_, token)), plain(features_))


def test_a_map_alone_is_refused():
    with pytest.raises(TypeError, match='class_token=True'):
        VideoTokenClsHead(4, 8)(features()[0])


def test_pool_is_fixed():
    with pytest.raises(ValueError, match="pool='cls'"):
        VideoTokenClsHead(4, 8, pool='cls')
