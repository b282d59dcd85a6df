"""RandAugment with one draw for all frames of a clip."""

from dataclasses import dataclass

import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.registry import TRANSFORMS

from .image_ops import INCREASING, MAX_LEVEL, PIXELWISE, ClipOp, Strength


@dataclass(frozen=True)
class Policy:
    """Operations, the probability of applying one that was drawn, and the highest level."""

    ops: dict[str, tuple[ClipOp, Strength]]
    prob: float
    max_level: float


POLICIES = {
    'increasing': Policy(INCREASING, prob=0.5, max_level=MAX_LEVEL),
    'pixelwise': Policy(PIXELWISE, prob=1.0, max_level=float('inf')),
}


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """Apply ``num_ops`` random operations (arXiv 1909.13719), each with one draw for all frames.

    - ``policy='increasing'``: timm's 'inc1' operations; each is drawn with replacement and applied with probability
      1/2; translations reach 0.45 of the side, corners are filled with grey, bicubic.
      'rand-m7-n4-mstd0.5-inc1' of UniFormer (``slowfast/datasets/rand_augment.py``) is
      ``magnitude=7, num_ops=4, magnitude_std=0.5``.
    - ``policy='pixelwise'``: ViViT's eleven operations and doing nothing, on the frames stacked to one image
      (``scenic/dataset_lib/video_ops.py::distort_image_with_randaugment``); ``num_ops=2``, ``magnitude`` 20 (SSv2) or
      15 (EPIC-Kitchens). Above level 10 some operations change nothing (solarize, posterize), as there.

    MMAction2 reaches RandAugment only through pytorchvideo or imgaug, which no longer work with current torchvision and
    numpy.

    Args:
        policy: see above.
        magnitude: level of strength; 10 is the end of the usual scale.
        num_ops: operations per clip.
        magnitude_std: standard deviation of normal noise on the level.

    Required keys: imgs, RGB frames (H, W, 3) of one size, uint8. Modified: imgs.
    """

    def __init__(self, policy: str, magnitude: float, num_ops: int, magnitude_std: float = 0.0) -> None:
        if policy not in POLICIES:
            raise ValueError(f'RandAugment: policy={policy!r}: choose one of {", ".join(map(repr, POLICIES))}')
        self.policy = policy
        self.magnitude = magnitude
        self.num_ops = num_ops
        self.magnitude_std = magnitude_std

    def transform(self, results: dict) -> dict:
        policy = POLICIES[self.policy]
        clip = np.stack(results['imgs'])
        for name in np.random.choice(list(policy.ops), self.num_ops):
            if np.random.rand() < policy.prob:
                apply, strength = policy.ops[name]
                level = np.clip(np.random.normal(self.magnitude, self.magnitude_std), 0, policy.max_level)
                clip = apply(clip, strength(level))
        results['imgs'] = list(clip)
        return results

    def __repr__(self) -> str:
        return (
            f'RandAugment(policy={self.policy!r}, magnitude={self.magnitude}, num_ops={self.num_ops}, '
            f'magnitude_std={self.magnitude_std})'
        )
