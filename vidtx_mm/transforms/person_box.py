"""Augmentation of a person's box for pose estimation, as MMPose 0.x drew it."""

from typing import Annotated, Any

import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.checks import Rate, Rule, Share
from vidtx_mm.registry import TRANSFORMS

Degrees = Annotated[float, Rule('degrees from 0 to 180', lambda x: 0 <= x <= 180)]


@TRANSFORMS.register_module()
class RandomScaleRotation(BaseTransform):
    """Scale and rotate the boxes by normal draws that are clipped: MMPose 0.x's TopDownGetRandomScaleRotation.

    A clipped draw has a good part of its weight at the ends of the range. MMPose 1.x's RandomBBoxTransform draws from a
    truncated normal distribution instead, which has none there, and shifts the boxes as well.

    Keys: changes ``bbox_scale`` (N, 2), sets ``bbox_rotation`` (N,) in degrees.

    Args:
        scale_factor: standard deviation and limit of the scale's distance from 1.
        rotate_factor: standard deviation of the rotation in degrees; the limit is twice as much.
        rotate_prob: how often to rotate at all.
    """

    def __init__(self, scale_factor: Rate = 0.5, rotate_factor: Degrees = 40.0, rotate_prob: Share = 0.6) -> None:
        self.scale_factor, self.rotate_factor, self.rotate_prob = scale_factor, rotate_factor, rotate_prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        scale = results['bbox_scale']
        count = len(scale)
        factor = 1 + self.scale_factor * np.clip(np.random.randn(count, 1), -1, 1)
        rotation = self.rotate_factor * np.clip(np.random.randn(count), -2, 2)
        rotated = np.random.rand(count) < self.rotate_prob
        results['bbox_scale'] = (scale * factor).astype(scale.dtype)
        results['bbox_rotation'] = np.where(rotated, rotation, 0.0).astype(np.float32)
        return results

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(scale_factor={self.scale_factor}, rotate_factor={self.rotate_factor}, '
            f'rotate_prob={self.rotate_prob})'
        )
