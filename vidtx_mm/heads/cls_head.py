"""Linear classifier of all four families."""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import torch
from mmaction.models.heads import BaseHead
from torch import Tensor, nn

from vidtx_mm.checks import Cfg, InitCfg, OneOf, Positive, Positives, Rate, Share
from vidtx_mm.registry import MODELS


class Pooling(NamedTuple):
    """A way to pool features to (B, C): description, allowed numbers of axes and channel axis of the features."""

    features: str
    ndims: tuple[int, ...]
    channel_axis: int
    pool: Callable[[Tensor], Tensor]


POOLINGS = {
    'avg': Pooling('a feature map (B, {0}, T, H, W) or (B, {0}, H, W)', (4, 5), 1, lambda x: x.flatten(2).mean(2)),
    'cls': Pooling('tokens (B, N, {0}), class token first', (3,), 2, lambda x: x[:, 0]),
    'none': Pooling('one vector per clip (B, {0})', (2,), 1, lambda x: x),
}
AVERAGES = ('prob', 'score', None)


@MODELS.register_module()
class VideoClsHead(BaseHead):
    """Pooling, dropout and a linear layer.

    The head initializes the layer when it is built, weights from a normal distribution and bias to zero; ``init_cfg``
    stays free for the user. Labels are class indices or vectors over the classes: blended by MixUp or CutMix
    (``blending`` of MMAction2), or multi-hot with ``multi_label``. Training accuracy is logged for class indices only.

    Args:
        num_classes: number of classes.
        in_channels: channels of the features.
        pool: 'avg' for the mean of a map, 'cls' for the first token, 'none' for features that are pooled already.
        dropout_ratio: dropout before the linear layer.
        init_std: standard deviation of the initial weights; 0 starts at zero, as ViViT does.
        loss_cls: config of the loss. The default is cross-entropy, with ``multi_label`` binary cross-entropy
            (``BCELossWithLogits``).
        label_smooth_eps: share of the target that is spread over all classes.
        multi_label: any number of classes per clip. Tests give independent probabilities (sigmoid), averaged over the
            views with 'prob' and computed from the averaged scores with 'score'.
        average_clips: average over the views of a video in tests: 'prob' of probabilities, 'score' of scores, None for
            no average.
        topk: accuracies to log in training.
        init_cfg: see ``mmengine.model.BaseModule``.
    """

    def __init__(
        self,
        num_classes: Positive,
        in_channels: Positive,
        pool: Annotated[str, OneOf(POOLINGS)] = 'avg',
        dropout_ratio: Rate = 0.5,
        init_std: Share = 0.01,
        loss_cls: Cfg | None = None,
        label_smooth_eps: Rate = 0.0,
        multi_label: bool = False,
        average_clips: Annotated[str | None, OneOf(AVERAGES)] = 'prob',
        topk: Positive | Positives = (1, 5),
        init_cfg: InitCfg | None = None,
    ) -> None:
        if multi_label and label_smooth_eps:
            raise ValueError(
                f'label_smooth_eps={label_smooth_eps} is for one label per clip; set it to 0 with multi_label=True'
            )
        super().__init__(
            num_classes,
            in_channels,
            loss_cls=loss_cls or dict(type=f'mmaction.{"BCELossWithLogits" if multi_label else "CrossEntropyLoss"}'),
            multi_class=multi_label,
            label_smooth_eps=label_smooth_eps,
            topk=topk if isinstance(topk, int) else tuple(topk),
            average_clips=average_clips,
            init_cfg=init_cfg,
        )
        self.pool = pool
        self.dropout = nn.Dropout(dropout_ratio)
        self.fc_cls = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.fc_cls.weight, std=init_std)
        nn.init.zeros_(self.fc_cls.bias)

    def forward(self, x: Tensor, **kwargs: Any) -> Tensor:
        """Return scores (B, num_classes), in single precision at least, for features as ``pool`` takes them."""
        pooling = POOLINGS[self.pool]
        if not isinstance(x, Tensor):
            raise TypeError(
                f'{type(self).__name__} takes one tensor, got {type(x).__name__}; set one out_indices in the backbone'
            )
        if x.ndim not in pooling.ndims or x.shape[pooling.channel_axis] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}(pool={self.pool!r}, in_channels={self.in_channels}) takes '
                f'{pooling.features.format(self.in_channels)}, got {tuple(x.shape)}; set pool and in_channels to fit '
                'the backbone'
            )
        scores = self.fc_cls(self.dropout(pooling.pool(x)))  # (B, num_classes)
        return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores

    def average_clip(self, cls_scores: Tensor, num_segs: int = 1) -> Tensor:
        """Average scores (B * num_segs, num_classes) to (B, num_classes); None gives (B, num_segs, num_classes)."""
        views = cls_scores.unflatten(0, (-1, num_segs))  # (B, num_segs, num_classes)
        if self.average_clips == 'prob':
            return self._probabilities(views).mean(dim=1)
        if self.average_clips == 'score':
            views = views.mean(dim=1)
        return views.sigmoid() if self.multi_class else views

    def _probabilities(self, scores: Tensor) -> Tensor:
        return scores.sigmoid() if self.multi_class else scores.softmax(dim=-1)
