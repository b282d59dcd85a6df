"""Classification heads for mmpretrain, on the last map of an image model; they take it without a neck.

``vidtx_mm.heads`` does not import this module, which needs mmpretrain: the configs name it in ``custom_imports``.
"""

from typing import Any

import torch
from mmpretrain.models.heads import LinearClsHead
from torch import Tensor, nn

from vidtx_mm.registry import MODELS

AUX_WEIGHT = 0.5  # of the token scores, at test


@MODELS.register_module()
class ImageClsHead(LinearClsHead):
    """Average pooling and a linear layer; arguments and losses are those of mmpretrain's ``LinearClsHead``."""

    def pre_logits(self, feats: Tensor) -> Tensor:
        """Return the mean (B, C) of a map (B, C, H, W)."""
        if not isinstance(feats, Tensor) or feats.ndim != 4 or feats.shape[1] != self.in_channels:
            shape = tuple(feats.shape) if isinstance(feats, Tensor) else [tuple(x.shape) for x in feats]
            raise ValueError(
                f'{type(self).__name__} takes one map (B, {self.in_channels}, H, W), got {shape}; set final_norm=True '
                'in the backbone, and in_channels to its last width'
            )
        return feats.mean((2, 3))


@MODELS.register_module()
class ImageTokenClsHead(ImageClsHead):
    """A classifier of the map and, in training only, one of the class token; the loss is the mean of both.

    The input is the output of ``ImageUniFormerLight(final_norm=True, class_token=True)``: the map (B, C, H, W) and the
    token (B, C).

    Source: Sense-X/UniFormer, image_classification/main_light.py.
    """

    def __init__(self, num_classes: int, in_channels: int, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc_token = nn.Linear(in_channels, num_classes)

    def pre_logits(self, feats: Any) -> Tensor:
        return super().pre_logits(self._pair(feats)[0])

    def loss(self, feats: tuple[Tensor, Tensor], data_samples: list, **kwargs: Any) -> dict[str, Tensor]:
        losses = super().loss(feats, data_samples, **kwargs)
        of_token = self._get_loss(self.fc_token(self._pair(feats)[1]), data_samples, **kwargs)
        return {**losses, 'loss': torch.stack([losses['loss'], of_token['loss']]).mean()}

    def _pair(self, feats: Any) -> tuple[Tensor, Tensor]:
        if not isinstance(feats, tuple) or len(feats) != 2 or feats[1].ndim != 2:
            raise TypeError(
                'ImageTokenClsHead takes a map and a class token; set class_token=True in the backbone, or use '
                'ImageClsHead'
            )
        return feats


@MODELS.register_module()
class TokenLabelClsHead(ImageClsHead):
    """A classifier of the mean token and one of single tokens, for the files of token labeling (arXiv 2104.10858).

    The scores are those of the mean plus half of each class's highest score among the tokens. The loss is that of these
    scores; the published training had labels for each token, which mmpretrain cannot read.

    Source: Sense-X/UniFormer, image_classification/token_labeling/tlt/models/uniformer.py.
    """

    def __init__(self, num_classes: int, in_channels: int, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc_aux = nn.Linear(in_channels, num_classes)

    def forward(self, feats: Tensor) -> Tensor:
        of_mean = self.fc(self.pre_logits(feats))  # (B, num_classes)
        of_tokens = self.fc_aux(feats.flatten(2).mT)  # (B, N, num_classes)
        return of_mean + AUX_WEIGHT * of_tokens.amax(1)
