"""Crops and rescaling."""

from math import ceil

import mmcv
import numpy as np
from mmaction.datasets.transforms import RandomRescale, Resize
from mmcv.transforms import BaseTransform

from vidtx_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class UniformCrop(BaseTransform):
    """One center crop, or three crops along the longer side: left, center, right (top, center, bottom).

    The shorter side is cropped in its center, so that 224 crops of a short side of 256 work; MMAction2's ``ThreeCrop``
    asserts a crop as large as the short side. Centers are rounded up and the last crop ends at the image's end;
    MMAction2's ``CenterCrop`` and ``ThreeCrop`` round down, and the last crop may end one pixel earlier.

    Sources: PySlowFast ``slowfast/datasets/transform.py::uniform_crop`` (UniFormer, TimeSformer); Scenic
    ``scenic/dataset_lib/video_ops.py::deterministic_crop`` (ViViT).

    Args:
        crop_size: side of the square crop in pixels.
        num_crops: 1 or 3.

    Required keys: imgs, frames (H, W, C). Modified: imgs (all frames of the first crop, then of the next), img_shape.
    Added: crop_bbox, (x1, y1, x2, y2) for each frame.
    """

    def __init__(self, crop_size: int, num_crops: int = 3) -> None:
        if num_crops not in (1, 3):
            raise ValueError(f'UniformCrop: num_crops={num_crops}: choose 1 or 3')
        self.crop_size = crop_size
        self.num_crops = num_crops

    def transform(self, results: dict) -> dict:
        imgs, size = results['imgs'], self.crop_size
        height, width = imgs[0].shape[:2]
        if min(height, width) < size:
            raise ValueError(
                f'UniformCrop: crop_size={size} is larger than the frames ({height} x {width}); put '
                f"dict(type='Resize', scale=(-1, {size})) before it"
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

    MMAction2's ``RandomRescale`` keeps the aspect ratio. Source: ``dmvr/processors.py::scale_jitter_augm`` with the
    range of ViViT's configs (paper, table 7).

    Args:
        scale_range: smallest and largest factor.
        prob: share of the clips that are rescaled.

    Required keys: imgs. Modified: imgs, img_shape.
    """

    def __init__(self, scale_range: tuple[float, float] = (0.9, 1.33), prob: float = 1.0) -> None:
        if not 0 < scale_range[0] <= scale_range[1]:
            raise ValueError(f'ScaleJitter: scale_range={scale_range} must be two rising positive factors')
        self.scale_range = scale_range
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if np.random.rand() >= self.prob:
            return results
        height, width = results['imgs'][0].shape[:2]
        factor_h, factor_w = np.random.uniform(*self.scale_range, size=2)
        height, width = int(height * factor_h), int(width * factor_w)
        results['imgs'] = [mmcv.imresize(img, (width, height)) for img in results['imgs']]
        results['img_shape'] = (height, width)
        return results

    def __repr__(self) -> str:
        return f'ScaleJitter(scale_range={self.scale_range}, prob={self.prob})'


@TRANSFORMS.register_module()
class InverseRandomRescale(RandomRescale):
    """Rescale to a short side whose inverse is uniform: small sizes come more often than with ``RandomRescale``.

    Source: PySlowFast ``slowfast/datasets/transform.py::random_short_side_scale_jitter`` with
    ``inverse_uniform_sampling`` (TimeSformer on Something-Something).
    """

    def transform(self, results: dict) -> dict:
        low, high = self.scale_range
        short_edge = round(1 / np.random.uniform(1 / high, 1 / low))
        results = Resize((-1, short_edge), interpolation=self.interpolation)(results)
        results['short_edge'] = short_edge
        return results
