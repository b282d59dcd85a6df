import numpy as np
import pytest
import torch
from mmaction.structures import ActionDataSample
from torch.nn.functional import cross_entropy

from vidtx_mm.heads import MultiHeadAccuracy, VideoMultiClsHead

SPLITS = (4, 3)


def target(*labels):
    return torch.cat([torch.eye(size)[label] for size, label in zip(SPLITS, labels, strict=True)])


def samples(*targets):
    return [ActionDataSample().set_gt_label(t) for t in targets]


def scores_head(**kwargs):
    head = VideoMultiClsHead(SPLITS, sum(SPLITS), pool='none', dropout_ratio=0.0, **kwargs)
    torch.nn.init.eye_(head.fc_cls.weight)
    return head


def test_one_projection_of_all_columns():
    assert VideoMultiClsHead((300, 97), 8).fc_cls.weight.shape == (397, 8)


@pytest.mark.parametrize('eps', [0.0, 0.2])
def test_loss_is_the_mean_over_the_labels(eps):
    torch.manual_seed(0)
    scores = torch.randn(2, 7)
    losses = scores_head(label_smooth_eps=eps).loss(scores, samples(target(3, 0), target(1, 2)))
    noun = cross_entropy(scores[:, :4], torch.tensor([3, 1]), label_smoothing=eps)
    verb = cross_entropy(scores[:, 4:], torch.tensor([0, 2]), label_smoothing=eps)
    torch.testing.assert_close(losses['loss_cls'], (noun + verb) / 2)


def test_training_accuracy_counts_pairs():
    scores = torch.cat([target(3, 0)[None], target(1, 2)[None]])
    losses = scores_head().loss(scores, samples(target(3, 1), target(1, 2)))
    assert losses['top1_acc'] == 0.5


def test_blended_labels_give_no_accuracy():
    mixed = 0.3 * target(3, 0) + 0.7 * target(1, 2)
    assert set(scores_head().loss(torch.randn(1, 7), samples(mixed))) == {'loss_cls'}


def test_probabilities_sum_to_one_in_each_split():
    torch.manual_seed(0)
    views = torch.randn(2, 3, 7)
    predicted = scores_head(average_clips='prob').predict(views.flatten(0, 1), samples(target(0, 0), target(0, 0)))
    expected = torch.cat([views[..., :4].softmax(-1), views[..., 4:].softmax(-1)], -1).mean(1)
    torch.testing.assert_close(torch.stack([p.pred_score for p in predicted]), expected)


def test_index_labels_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match='class_splits'):
        scores_head().loss(torch.randn(1, 7), samples(3))


def test_num_classes_is_not_an_option():
    with pytest.raises(TypeError, match='num_classes'):
        VideoMultiClsHead(SPLITS, 8, num_classes=7)


def test_metric_against_a_count_by_hand():
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.normal(size=(50, 7)))
    labels = np.stack([rng.integers(4, size=50), rng.integers(3, size=50)], 1)
    metric = MultiHeadAccuracy(SPLITS, ('noun', 'verb'))
    metric.process(None, [dict(pred_score=s, gt_label=target(*label)) for s, label in zip(scores, labels, strict=True)])
    result = metric.evaluate(50)
    nouns, verbs = scores[:, :4].argmax(1).numpy() == labels[:, 0], scores[:, 4:].argmax(1).numpy() == labels[:, 1]
    assert result == {
        'acc/action_top1': (nouns & verbs).mean(),
        'acc/noun_top1': nouns.mean(),
        'acc/noun_top5': 1.0,
        'acc/verb_top1': verbs.mean(),
        'acc/verb_top5': 1.0,
    }


def test_metric_needs_a_name_for_each_label():
    with pytest.raises(ValueError, match='names'):
        MultiHeadAccuracy(SPLITS, ('noun',))


def test_reached_by_scope():
    from mmaction.registry import METRICS, MODELS

    assert isinstance(
        MODELS.build(dict(type='vidtx_mm.VideoMultiClsHead', class_splits=SPLITS, in_channels=8)), VideoMultiClsHead
    )
    metric = METRICS.build(dict(type='vidtx_mm.MultiHeadAccuracy', class_splits=SPLITS, names=('noun', 'verb')))
    assert isinstance(metric, MultiHeadAccuracy)
