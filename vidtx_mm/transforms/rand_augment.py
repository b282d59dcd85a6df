"""RandAugment with one draw for all frames of a clip."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.checks import OneOf, Positive, Rule
from vidtx_mm.registry import TRANSFORMS

from .image_ops import IMGAUG, INCREASING, PIXELWISE, PLAIN, Operations
from .lookup import Pointwise, look_up

Level = Annotated[float, Rule('a level from 0 to 30', lambda level: 0 <= level <= 30)]


@dataclass(frozen=True)
class Policy:
    """A set of operations.

    Attributes:
        operations: what is drawn from.
        full: the level of full strength.
        limit: the highest level.
        prob: probability of applying an operation that was drawn.
        repeat: an operation can be drawn twice.
    """

    operations: Operations
    full: float
    limit: float = float('inf')
    prob: float = 1.0
    repeat: bool = True


POLICIES = {
    'increasing': Policy(INCREASING, full=10, limit=10, prob=0.5),
    'plain': Policy(PLAIN, full=10, limit=10, prob=0.5),
    'imgaug': Policy(IMGAUG, full=30, repeat=False),
    'pixelwise': Policy(PIXELWISE, full=10),
}


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """Apply ``num_ops`` random operations (arXiv 1909.13719), each with one draw for all frames.

    - ``policy='increasing'``: timm's 'inc1' operations on a scale of 10; each is drawn with replacement and applied
      with probability 1/2; translations reach 0.45 of the side, corners are filled with gray, bicubic.
      'rand-m7-n4-mstd0.5-inc1' of UniFormer (``slowfast/datasets/rand_augment.py``) is
      ``magnitude=7, num_ops=4, magnitude_std=0.5``.
    - ``policy='plain'``: timm's operations without 'inc1'. Color, contrast, brightness and sharpness change nothing at
      level 5, posterize and solarize weaken with the level. 'rand-m5-n2-mstd0.25' and 'rand' of UniFormer-XXS are
      ``magnitude=5, num_ops=2, magnitude_std=0.25`` and ``magnitude=10, num_ops=2``.
    - ``policy='imgaug'``: imgaug's operations on a scale of 30, drawn without replacement; geometry by the nearest
      pixel. ``magnitude=7, num_ops=4`` is that of Video Swin on Something-Something. There imgaug flips half of the
      clips first, without changing labels such as 'pushing from left to right', and crops up to 3 % from each side;
      both are left out here.
    - ``policy='pixelwise'``: ViViT's eleven operations and doing nothing, on a scale of 10, on the frames stacked to
      one image (``scenic/dataset_lib/video_ops.py::distort_image_with_randaugment``); ``num_ops=2``, ``magnitude`` 20
      (SSv2) or 15 (EPIC-Kitchens). Above level 10 some operations change nothing (solarize, posterize), as there.

    MMAction2 reaches RandAugment only through pytorchvideo or imgaug, which no longer work with current torchvision and
    numpy.

    Args:
        policy: see above.
        magnitude: level of strength.
        num_ops: operations per clip.
        magnitude_std: standard deviation of normal noise on the level.
        channel_order: ``'bgr'`` augments as if red and blue were swapped, which color and contrast notice: UniFormer
            on Something-Something and HMDB51 read its frames in this order. Frames come and go as RGB.

    Required keys: imgs, RGB frames (H, W, 3) of one size, uint8. Modified: imgs.
    """

    def __init__(
        self,
        policy: Annotated[str, OneOf(POLICIES)],
        magnitude: Level,
        num_ops: Positive,
        magnitude_std: Level = 0.0,
        channel_order: Annotated[str, OneOf(('rgb', 'bgr'))] = 'rgb',
    ) -> None:
        operations = len(POLICIES[policy].operations)
        if num_ops > operations and not POLICIES[policy].repeat:
            raise ValueError(f'num_ops={num_ops}: policy={policy!r} has {operations} operations and repeats none')
        self.policy = policy
        self.magnitude = magnitude
        self.num_ops = num_ops
        self.magnitude_std = magnitude_std
        self.channel_order = channel_order

    def transform(self, results: dict) -> dict:
        policy = POLICIES[self.policy]
        clip = self._in_order(results['imgs'])
        tables = None  # of pointwise operations in a row, applied at once
        for name in np.random.choice(list(policy.operations), self.num_ops, replace=policy.repeat):
            if np.random.rand() >= policy.prob:
                continue
            operation, argument = policy.operations[name]
            level = np.clip(np.random.normal(self.magnitude, self.magnitude_std), 0, policy.limit)
            if isinstance(operation, Pointwise):
                tables = operation.after(tables, clip, argument(level / policy.full))
            else:
                clip = operation(clip if tables is None else look_up(clip, tables), argument(level / policy.full))
                tables = None
        clip = clip if tables is None else look_up(clip, tables)
        results['imgs'] = list(self._in_order(clip) if self.channel_order == 'bgr' else clip)
        return results

    def _in_order(self, frames: Iterable[np.ndarray]) -> np.ndarray:
        """Stack frames and swap red and blue if need be."""
        if self.channel_order == 'bgr':
            frames = [cv2.cvtColor(frame, cv2.COLOR_RGB2BGR) for frame in frames]
        return np.stack(list(frames))

    def __repr__(self) -> str:
        return (
            f'RandAugment(policy={self.policy!r}, magnitude={self.magnitude}, num_ops={self.num_ops}, '
            f'magnitude_std={self.magnitude_std}, channel_order={self.channel_order!r})'
        )
