"""The linear classifier of all four families."""

from collections.abc import Callable
from typing import Any

import torch
from mmaction.models.heads import BaseHead
from torch import Tensor, nn

from vidtx_mm.checks import choose
from vidtx_mm.registry import MODELS

POOLS: dict[str, tuple[str, tuple[int, ...], int, Callable[[Tensor], Tensor]]] = {
    'avg': ('a feature map (B, {0}, T, H, W) or (B, {0}, H, W)', (4, 5), 1, lambda x: x.flatten(2).mean(2)),
    'cls': ('tokens (B, N, {0}), the class token first', (3,), 2, lambda x: x[:, 0]),
    'none': ('one vector per clip (B, {0})', (2,), 1, lambda x: x),
}
"""pool: what it takes, the numbers of axes it takes, its channel axis, and what it does."""

AVERAGES = ('prob', 'score', None)


@MODELS.register_module()
class VideoClsHead(BaseHead):
    """Pool, dropout, one linear layer.

    The layer is drawn from a normal distribution when the head is built, its bias is zero; ``init_cfg`` is the user's.

    Labels are class indices, or vectors over the classes: blended by MixUp/CutMix (MMAction2's ``blending``), or
    multi-hot with ``multi_label``. Training accuracy is logged for class indices only.

    Args:
        num_classes: number of classes.
        in_channels: channels of the features.
        pool: 'avg' of a map over all positions, 'cls' the first token, 'none' for features that are pooled already.
        dropout_ratio: dropout before the linear layer.
        init_std: standard deviation of the linear layer's weights; 0 starts at zero, as ViViT does.
        loss_cls: by default cross-entropy, with ``multi_label`` binary cross-entropy (``BCELossWithLogits``).
        label_smooth_eps: share of the target that is spread over all classes.
        multi_label: any number of classes per clip: independent probabilities (sigmoid) in tests, which are averaged
            over the views for 'prob' and computed from the averaged scores for 'score'.
        average_clips: how tests average the views of a video: 'prob' after the softmax, 'score' the raw scores, None
            not at all.
        topk: accuracies logged in training.
        init_cfg: see ``mmengine.model.BaseModule``.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        pool: str = 'avg',
        dropout_ratio: float = 0.5,
        init_std: float = 0.01,
        loss_cls: dict | None = None,
        label_smooth_eps: float = 0.0,
        multi_label: bool = False,
        average_clips: str | None = 'prob',
        topk: int | tuple[int, ...] = (1, 5),
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        name = type(self).__name__
        choose(f'{name}: pool', pool, POOLS)
        choose(f'{name}: average_clips', average_clips, AVERAGES)
        if not isinstance(num_classes, int) or num_classes < 1:
            raise ValueError(f'{name}: num_classes={num_classes!r}: give a positive integer')
        if not 0 <= label_smooth_eps < 1:
            raise ValueError(f'{name}: label_smooth_eps={label_smooth_eps}: give a share in [0, 1)')
        if multi_label and label_smooth_eps:
            raise ValueError(
                f'{name}: label_smooth_eps={label_smooth_eps} spreads the one label of a clip over the classes; with '
                'multi_label=True set it to 0'
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
        """Features as ``pool`` takes them -> scores (B, num_classes), at least of single precision."""
        takes, ndims, axis, reduce = POOLS[self.pool]
        if not isinstance(x, Tensor):
            got = type(x).__name__
            raise TypeError(
                f'{type(self).__name__} takes one tensor, got {got}; give the backbone one out_indices entry'
            )
        if x.ndim not in ndims or x.shape[axis] != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}(pool={self.pool!r}, in_channels={self.in_channels}) takes '
                f'{takes.format(self.in_channels)}, got {tuple(x.shape)}; make pool and in_channels fit the backbone'
            )
        scores = self.fc_cls(self.dropout(reduce(x)))
        return scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores

    def average_clip(self, cls_scores: Tensor, num_segs: int = 1) -> Tensor:
        """(B * num_segs, num_classes) -> (B, num_classes), or (B, num_segs, num_classes) for ``None``."""
        views = cls_scores.unflatten(0, (-1, num_segs))
        if self.average_clips == 'prob':
            return self._probabilities(views).mean(dim=1)
        if self.average_clips == 'score':
            views = views.mean(dim=1)
        return views.sigmoid() if self.multi_class else views

    def _probabilities(self, scores: Tensor) -> Tensor:
        return scores.sigmoid() if self.multi_class else scores.softmax(dim=-1)
