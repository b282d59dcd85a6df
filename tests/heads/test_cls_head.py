import pytest
import torch
from mmaction.structures import ActionDataSample
from torch import nn

from vidtx_mm.heads import VideoClsHead


def samples(*labels):
    return [ActionDataSample().set_gt_label(label) for label in labels]


def scores_head(num_classes=3, **kwargs):
    """A head whose scores are its input."""
    head = VideoClsHead(num_classes, num_classes, pool='none', dropout_ratio=0.0, **kwargs)
    nn.init.eye_(head.fc_cls.weight)
    return head


@pytest.mark.parametrize(
    ('pool', 'features', 'pooled'),
    [
        ('avg', torch.randn(2, 6, 4, 3, 3), lambda x: x.mean((2, 3, 4))),
        ('avg', torch.randn(2, 6, 3, 5), lambda x: x.mean((2, 3))),
        ('cls', torch.randn(2, 9, 6), lambda x: x[:, 0]),
        ('none', torch.randn(2, 6), lambda x: x),
    ],
)
def test_pool(pool, features, pooled):
    head = VideoClsHead(5, 6, pool=pool).eval()
    expected = pooled(features) @ head.fc_cls.weight.T + head.fc_cls.bias
    torch.testing.assert_close(head(features), expected)


@pytest.mark.parametrize(
    ('pool', 'shape'),
    [
        ('avg', (2, 6)),
        ('avg', (2, 9, 6)),
        ('avg', (2, 7, 4, 3, 3)),
        ('cls', (2, 6, 4, 3, 3)),
        ('cls', (2, 9, 7)),
        ('none', (2, 6, 4, 3, 3)),
        ('none', (2, 7)),
    ],
)
def test_wrong_features_name_pool_and_shape(pool, shape):
    with pytest.raises(ValueError) as error:
        VideoClsHead(5, 6, pool=pool)(torch.zeros(shape))
    assert f'pool={pool!r}' in str(error.value)
    assert str(shape) in str(error.value)


def test_several_feature_maps_are_refused():
    with pytest.raises(TypeError, match='out_indices'):
        VideoClsHead(5, 6)((torch.zeros(1, 6, 1, 1, 1),) * 2)


@pytest.mark.parametrize(
    ('kwargs', 'valid'),
    [
        (dict(pool='max'), "'avg', 'cls', 'none'"),
        (dict(average_clips='mean'), "'prob', 'score', None"),
        (dict(multi_label=True, label_smooth_eps=0.1), 'label_smooth_eps=0.1'),
        (dict(label_smooth_eps=2), r'label_smooth_eps=2: give a number in \[0, 1\)'),
        (dict(num_classes=0), 'num_classes=0: give a positive integer'),
        (dict(num_classes='5'), "num_classes='5': give a positive integer"),
    ],
)
def test_wrong_options(kwargs, valid):
    with pytest.raises(ValueError, match=valid):
        VideoClsHead(**dict(num_classes=5, in_channels=6) | kwargs)


@pytest.mark.parametrize('init_std', [0.0, 0.01, 0.5])
def test_init_std_holds_at_construction_and_after_init_weights(init_std):
    head = VideoClsHead(200, 100, init_std=init_std)
    for _ in range(2):
        assert head.fc_cls.weight.std().item() == pytest.approx(init_std, rel=0.05)
        assert not head.fc_cls.bias.any()
        head.init_weights()


def test_init_cfg_of_the_user_comes_last():
    head = VideoClsHead(4, 3, init_cfg=dict(type='Constant', layer='Linear', val=2.0))
    head.init_weights()
    assert (head.fc_cls.weight == 2).all()


def test_dropout_in_training_only():
    torch.manual_seed(0)
    head = VideoClsHead(50, 60, pool='none', dropout_ratio=0.5)
    x = torch.ones(1, 60)
    assert not torch.equal(head(x), head(x))
    head.eval()
    assert torch.equal(head(x), head(x))


def test_index_labels_give_cross_entropy_and_accuracy():
    head = scores_head(topk=(1, 2))
    scores = torch.tensor([[3.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
    losses = head.loss(scores, samples(0, 1))
    torch.testing.assert_close(losses['loss_cls'], nn.functional.cross_entropy(scores, torch.tensor([0, 1])))
    assert losses['top1_acc'] == 0.5
    assert losses['top2_acc'] == 1.0


@pytest.mark.parametrize('batch', [1, 3])
def test_soft_labels_give_a_loss_and_no_accuracy(batch):
    head = scores_head()
    torch.manual_seed(0)
    scores, targets = torch.randn(batch, 3), torch.rand(batch, 3).softmax(1)
    losses = head.loss(scores, samples(*targets))
    assert set(losses) == {'loss_cls'}
    torch.testing.assert_close(losses['loss_cls'], nn.functional.cross_entropy(scores, targets))


@pytest.mark.parametrize('labels', [(0, 2), (torch.tensor([0.7, 0.3, 0.0]), torch.tensor([0.0, 0.0, 1.0]))])
def test_label_smoothing(labels):
    torch.manual_seed(0)
    scores = torch.randn(2, 3)
    losses = scores_head(label_smooth_eps=0.3).loss(scores, samples(*labels))
    targets = torch.stack([torch.eye(3)[x] if isinstance(x, int) else x for x in labels])
    torch.testing.assert_close(losses['loss_cls'], nn.functional.cross_entropy(scores, 0.7 * targets + 0.1))


@pytest.mark.parametrize('alphas', [(0.8,), (0.8, 1.0)])
def test_blended_batches_train(alphas):
    """MixUp, and MixUp or CutMix by chance, through MMAction2's data preprocessor."""
    from mmaction.models import ActionDataPreprocessor

    torch.manual_seed(0)
    kinds = ('MixupBlending', 'CutmixBlending')
    augments = [dict(type=kind, alpha=a, num_classes=3) for kind, a in zip(kinds, alphas, strict=False)]
    blending = dict(type='RandomBatchAugment', augments=augments, probs=[1 / len(alphas)] * len(alphas))
    preprocess = ActionDataPreprocessor(mean=[0.0] * 3, std=[1.0] * 3, format_shape='NCTHW', blending=blending)
    clips = [torch.rand(1, 3, 4, 8, 8) for _ in range(4)]
    batch = preprocess(dict(inputs=clips, data_samples=samples(0, 1, 2, 1)), training=True)
    head = VideoClsHead(3, 3, label_smooth_eps=0.1)
    losses = head.loss(batch['inputs'].flatten(0, 1), batch['data_samples'])
    assert set(losses) == {'loss_cls'}
    losses['loss_cls'].backward()
    assert head.fc_cls.weight.grad.abs().sum() > 0


def test_cutmix_cuts_height_and_width_of_a_clip():
    from mmaction.models import CutmixBlending

    torch.manual_seed(0)
    clips = torch.arange(6.0).view(6, 1, 1, 1, 1, 1).expand(6, 1, 3, 4, 16, 12).contiguous()
    mixed, labels = CutmixBlending(num_classes=6, alpha=1.0).do_blending(clips.clone(), torch.eye(6))
    changed = mixed != clips
    assert changed.any() and not changed.all()
    assert (changed == changed[:, :, :1, :1]).all(), 'the same box in all channels and frames'
    torch.testing.assert_close(labels.diagonal(), 1 - changed.float().mean((1, 2, 3, 4, 5)))


def test_multi_label_is_binary_cross_entropy():
    torch.manual_seed(0)
    scores, targets = torch.randn(2, 3), torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    losses = scores_head(multi_label=True).loss(scores, samples(*targets))
    assert set(losses) == {'loss_cls'}
    expected = nn.functional.binary_cross_entropy_with_logits(scores, targets)
    torch.testing.assert_close(losses['loss_cls'], expected)


@pytest.mark.parametrize(
    ('kwargs', 'rule'),
    [
        (dict(average_clips='prob'), lambda v: v.softmax(-1).mean(1)),
        (dict(average_clips='score'), lambda v: v.mean(1)),
        (dict(average_clips=None), lambda v: v),
        (dict(average_clips='prob', multi_label=True), lambda v: v.sigmoid().mean(1)),
        (dict(average_clips='score', multi_label=True), lambda v: v.mean(1).sigmoid()),
        (dict(average_clips=None, multi_label=True), lambda v: v.sigmoid()),
    ],
)
def test_views_of_a_video_are_averaged(kwargs, rule):
    torch.manual_seed(0)
    views = torch.randn(2, 4, 3)
    predicted = scores_head(**kwargs).eval().predict(views.flatten(0, 1), samples(0, 1))
    torch.testing.assert_close(torch.stack([p.pred_score for p in predicted]), rule(views))
    assert torch.equal(predicted[1].pred_label, rule(views)[1].argmax(-1, keepdim=True))


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_autocast_gives_single_precision_scores(dtype):
    head = VideoClsHead(3, 6, pool='none')
    with torch.autocast('cpu', dtype):
        losses = head.loss(torch.randn(2, 6), samples(0, 1))
        predicted = head.predict(torch.randn(2, 6), samples(0, 1))
    assert losses['loss_cls'].dtype == predicted[0].pred_score.dtype == torch.float32


def test_double_precision_stays():
    assert VideoClsHead(3, 6, pool='none').double()(torch.randn(2, 6).double()).dtype == torch.float64
