"""Several labels per clip from one linear layer, such as noun and verb of EPIC-Kitchens."""

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from vidtx_mm.checks import OneOf, Positive, Positives
from vidtx_mm.registry import METRICS, MODELS

from .cls_head import VideoClsHead


@MODELS.register_module()
class VideoMultiClsHead(VideoClsHead):
    """One softmax per label over consecutive columns of one linear layer; the loss is the mean over the labels.

    Targets are vectors over all columns with a one in each split, possibly blended, as from
    ``VideoListDataset(class_splits=...)``. ``pred_score`` concatenates the splits; see ``MultiHeadAccuracy``.

    Source: ``scenic/projects/vivit/model.py::ViViTMultiHeadClassificationModel`` (EPIC-Kitchens: 300 nouns, 97 verbs).

    Args:
        class_splits: number of classes of each label, in the order of the columns.
        in_channels: channels of the features.
        kwargs: as for ``VideoClsHead``; ``num_classes`` is the sum of the splits.
    """

    def __init__(self, class_splits: Positives, in_channels: Positive, **kwargs: Any) -> None:
        taken = {'num_classes', 'multi_label'} & set(kwargs)
        if taken:
            raise TypeError(f'class_splits sets {", ".join(sorted(taken))}; leave it out')
        super().__init__(sum(class_splits), in_channels, **kwargs)
        self.class_splits = list(class_splits)

    def loss_by_feat(self, cls_scores: Tensor, data_samples: list) -> dict[str, Tensor]:
        targets = torch.stack([sample.gt_label for sample in data_samples]).to(cls_scores)
        if targets.shape != cls_scores.shape:
            raise ValueError(
                f'VideoMultiClsHead: labels have shape {tuple(targets.shape)}, scores {tuple(cls_scores.shape)}; read '
                f'the list with VideoListDataset(class_splits={self.class_splits})'
            )
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        eps = self.label_smooth_eps
        pairs = zip(cls_scores.split(self.class_splits, 1), targets.split(self.class_splits, 1), strict=True)
        for scores, target in pairs:
            losses.append(self.loss_cls(scores, (1 - eps) * target + eps / target.shape[1]))
            hits.append(scores.argmax(1) == target.argmax(1))
        result = {'loss_cls': torch.stack(losses).mean()}
        if ((targets == 0) | (targets == 1)).all():
            result['top1_acc'] = torch.stack(hits).all(0).float().mean()
        return result

    def _probabilities(self, scores: Tensor) -> Tensor:
        return torch.cat([split.softmax(dim=-1) for split in scores.split(self.class_splits, dim=-1)], dim=-1)


@METRICS.register_module()
class MultiHeadAccuracy(BaseMetric):
    """Top-1 and top-5 accuracy of each label, and ``action_top1``, the share of clips with all labels right.

    Source: ``scenic/projects/vivit/model.py::ViViTMultiHeadClassificationModel.get_metrics_fn``.

    Args:
        class_splits: as for ``VideoMultiClsHead``.
        names: a name for each label, e.g. ('noun', 'verb').
        collect_device: see ``mmengine.evaluator.BaseMetric``.
        prefix: see ``mmengine.evaluator.BaseMetric``.
    """

    default_prefix = 'acc'

    def __init__(
        self,
        class_splits: Positives,
        names: Sequence[str],
        collect_device: Annotated[str, OneOf(('cpu', 'gpu'))] = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if len(names) != len(class_splits):
            raise ValueError(
                f'names={tuple(names)} does not match class_splits={tuple(class_splits)}; give one name per split'
            )
        self.class_splits = list(class_splits)
        self.names = list(names)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            scores = sample['pred_score'].cpu().split(self.class_splits)
            labels = [target.argmax() for target in sample['gt_label'].cpu().split(self.class_splits)]
            self.results.append([int((s > s[label]).sum()) for s, label in zip(scores, labels, strict=True)])

    def compute_metrics(self, results: list) -> dict[str, float]:
        ranks = np.array(results)
        metrics = {'action_top1': float((ranks == 0).all(axis=1).mean())}
        for name, rank in zip(self.names, ranks.T, strict=True):
            metrics[f'{name}_top1'] = float((rank < 1).mean())
            metrics[f'{name}_top5'] = float((rank < 5).mean())
        return metrics
