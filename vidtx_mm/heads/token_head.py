"""Head with a second classifier in training, of the class token."""

from typing import Any

import torch
from torch import Tensor, nn

from vidtx_mm.checks import Positive, Share
from vidtx_mm.registry import MODELS

from .cls_head import VideoClsHead


@MODELS.register_module()
class VideoTokenClsHead(VideoClsHead):
    """A classifier of the feature map and, in training only, one of the class token; the loss is the mean of both.

    The input is the output of ``VideoUniFormerLight(class_token=True)``: the map (B, C, T, H, W) and the token (B, C).

    Source: Sense-X/UniFormer, video_classification/tools/train_net_cls.py.

    Args:
        num_classes: number of classes.
        in_channels: channels of map and token.
        kwargs: as for ``VideoClsHead``; ``pool`` is 'avg'.
    """

    def __init__(self, num_classes: Positive, in_channels: Positive, init_std: Share = 0.01, **kwargs: Any) -> None:
        if kwargs.get('pool', 'avg') != 'avg':
            raise ValueError(f"pool={kwargs['pool']!r}: give 'avg', or leave it out")
        super().__init__(num_classes, in_channels, init_std=init_std, **kwargs)
        self.fc_token = nn.Linear(in_channels, num_classes)
        nn.init.normal_(self.fc_token.weight, std=init_std)
        nn.init.zeros_(self.fc_token.bias)

    def forward(self, x: Any, **kwargs: Any) -> Tensor:
        """Return the scores (B, num_classes) of the map."""
        return super().forward(self._pair(x)[0], **kwargs)

    def loss(self, feats: tuple[Tensor, Tensor], data_samples: list, **kwargs: Any) -> dict[str, Tensor]:
        features, token = self._pair(feats)
        losses = self.loss_by_feat(super().forward(features, **kwargs), data_samples)
        of_token = self.loss_by_feat(self.fc_token(self.dropout(token)).float(), data_samples)
        return {**losses, 'loss_cls': torch.stack([losses['loss_cls'], of_token['loss_cls']]).mean()}

    def _pair(self, x: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(x, tuple) or len(x) != 2 or x[1].ndim != 2:
            raise TypeError(
                'VideoTokenClsHead takes a feature map and a class token; set class_token=True in the backbone, or use '
                'VideoClsHead'
            )
        return x
