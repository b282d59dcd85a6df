"""Crops and rescaling."""

from collections.abc import Sequence
from math import ceil
from typing import Annotated

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.checks import OneOf, Positive, PositiveFloat, Rule, Share
from vidtx_mm.registry import TRANSFORMS

INCREASING = Rule('two positive numbers, the smaller one first', lambda ends: ends[0] <= ends[1])


def resize_frames(frames: Sequence[np.ndarray], height: int, width: int, truncate: bool) -> list[np.ndarray]:
    """Resize frames (H, W, C) of uint8 bilinearly; ``truncate`` cuts the values to integers instead of rounding."""
    if frames[0].shape[:2] == (height, width):
        return list(frames)
    if not truncate:
        return [cv2.resize(frame, (width, height)) for frame in frames]
    return [cv2.resize(frame.astype(np.float32), (width, height)).astype(np.uint8) for frame in frames]


@TRANSFORMS.register_module()
class ResizeShortSide(BaseTransform):
    """Resize frames to a short side of ``size`` pixels, the long side rounded down.

    MMAction2's ``Resize(scale=(-1, size))`` rounds the long side to the nearest integer: 340 x 256 becomes 298 x 224
    there and 297 x 224 here.

    Sources: PySlowFast ``slowfast/datasets/transform.py`` (UniFormer, TimeSformer); ``dmvr/processors.py``
    ``resize_smallest`` (ViViT).

    Args:
        size: short side in pixels.
        truncate: cut interpolated values to integers, as TensorFlow's cast to uint8 does (ViViT), instead of rounding.

    Required keys: imgs, frames (H, W, C), uint8. Modified: imgs, img_shape.
    """

    def __init__(self, size: Positive, truncate: bool = False) -> None:
        self.size = size
        self.truncate = truncate

    def transform(self, results: dict) -> dict:
        return _resize_short_side(results, self.size, self.truncate)

    def __repr__(self) -> str:
        return f'ResizeShortSide(size={self.size}, truncate={self.truncate})'


@TRANSFORMS.register_module()
class RandomShortSide(BaseTransform):
    """Resize frames to a random short side, the long side rounded down.

    The short side is uniform, or uniform in its inverse (``inverse=True``): small sides come more often then.
    MMAction2's ``RandomRescale`` is always uniform and rounds the long side to the nearest integer.

    Source: PySlowFast ``slowfast/datasets/transform.py::random_short_side_scale_jitter`` (TimeSformer; with
    ``inverse_uniform_sampling`` on Something-Something).

    Args:
        scale_range: smallest and largest short side in pixels.
        inverse: draw the inverse of the short side uniformly.

    Required keys: imgs, frames (H, W, C), uint8. Modified: imgs, img_shape.
    """

    def __init__(self, scale_range: Annotated[tuple[Positive, Positive], INCREASING], inverse: bool = False) -> None:
        self.scale_range = scale_range
        self.inverse = inverse

    def transform(self, results: dict) -> dict:
        low, high = self.scale_range
        side = 1 / np.random.uniform(1 / high, 1 / low) if self.inverse else np.random.uniform(low, high)
        return _resize_short_side(results, round(side), truncate=False)

    def __repr__(self) -> str:
        return f'RandomShortSide(scale_range={self.scale_range}, inverse={self.inverse})'


def _resize_short_side(results: dict, size: int, truncate: bool) -> dict:
    height, width = results['imgs'][0].shape[:2]
    short = min(height, width)
    height, width = height * size // short, width * size // short
    results['imgs'] = resize_frames(results['imgs'], height, width, truncate)
    results['img_shape'] = (height, width)
    return results


@TRANSFORMS.register_module()
class UniformCrop(BaseTransform):
    """One center crop, or three crops along the longer side: left, center, right (top, center, bottom).

    The shorter side is cropped in its center, so that 224 crops of a short side of 256 work; MMAction2's ``ThreeCrop``
    asserts a crop as large as the short side. Centers are rounded up and the last crop ends at the image's end;
    MMAction2's ``CenterCrop`` and ``ThreeCrop`` round down, and the last crop may end one pixel earlier. (ViViT's
    single center crop rounds down: use ``CenterCrop``.)

    Sources: PySlowFast ``slowfast/datasets/transform.py::uniform_crop`` (UniFormer, TimeSformer); Scenic
    ``scenic/dataset_lib/video_ops.py::deterministic_crop`` (ViViT's three crops).

    Args:
        crop_size: side of the square crop in pixels.
        num_crops: 1 or 3.

    Required keys: imgs, frames (H, W, C). Modified: imgs (all frames of the first crop, then of the next), img_shape.
    Added: crop_bbox, (x1, y1, x2, y2) for each frame.
    """

    def __init__(self, crop_size: Positive, num_crops: Annotated[int, OneOf((1, 3))] = 3) -> None:
        self.crop_size = crop_size
        self.num_crops = num_crops

    def transform(self, results: dict) -> dict:
        imgs, size = results['imgs'], self.crop_size
        height, width = imgs[0].shape[:2]
        if min(height, width) < size:
            raise ValueError(
                f'UniformCrop: crop_size={size} is larger than the frames ({height} x {width}); put '
                f"dict(type='vidtx_mm.ResizeShortSide', size={size}) before it"
            )
        tops, lefts = [ceil((height - size) / 2)], [ceil((width - size) / 2)]
        if self.num_crops == 3 and height > width:
            tops = [0, *tops, height - size]
        elif self.num_crops == 3:
            lefts = [0, *lefts, width - size]
        boxes = [(left, top, left + size, top + size) for top in tops for left in lefts]
        results['imgs'] = [img[y1:y2, x1:x2] for x1, y1, x2, y2 in boxes for img in imgs]
        results['crop_bbox'] = np.repeat(np.array(boxes), len(imgs), axis=0)
        results['img_shape'] = (size, size)
        return results

    def __repr__(self) -> str:
        return f'UniformCrop(crop_size={self.crop_size}, num_crops={self.num_crops})'


@TRANSFORMS.register_module()
class ScaleJitter(BaseTransform):
    """Rescale height and width by two independent factors, the same for all frames.

    Interpolated values are cut to integers, not rounded, as TensorFlow's cast to uint8 does. MMAction2's
    ``RandomRescale`` keeps the aspect ratio. Source: ``dmvr/processors.py::scale_jitter_augm`` with the
    range of ViViT's configs (paper, table 7).

    Args:
        scale_range: smallest and largest factor.
        prob: share of the clips that are rescaled.

    Required keys: imgs. Modified: imgs, img_shape.
    """

    def __init__(
        self,
        scale_range: Annotated[tuple[PositiveFloat, PositiveFloat], INCREASING] = (0.9, 1.33),
        prob: Share = 1.0,
    ) -> None:
        self.scale_range = scale_range
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        height, width = results['imgs'][0].shape[:2]
        factor_h, factor_w = np.random.uniform(*self.scale_range, size=2)
        height, width = int(height * factor_h), int(width * factor_w)
        results['imgs'] = resize_frames(results['imgs'], height, width, truncate=True)
        results['img_shape'] = (height, width)
        return results

    def __repr__(self) -> str:
        return f'ScaleJitter(scale_range={self.scale_range}, prob={self.prob})'
