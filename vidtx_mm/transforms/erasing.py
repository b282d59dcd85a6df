"""Random erasing with the values of normalized clips."""

from typing import Annotated

import numpy as np
from mmaction.datasets.transforms.processing import RandomErasing

from vidtx_mm.checks import OneOf, PositiveFloat, Rule, Share
from vidtx_mm.registry import TRANSFORMS

Pixel = Annotated[float, Rule('a value from 0 to 255', lambda x: 0 <= x <= 255)]
Mean = Annotated[tuple[Pixel, Pixel, Pixel], Rule('three values from 0 to 255')]
Std = Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], Rule('three positive numbers')]


@TRANSFORMS.register_module()
class NormalizedErasing(RandomErasing):
    """Erase one box in all frames, as the published code does *after* normalization.

    The data preprocessor normalizes later, so the box is filled with mean + std * z: z = 0 ('const') or standard normal
    noise for each pixel, channel and frame ('rand'). An erased clip becomes float32, which holds these values exactly.
    The box is smaller than the frame in height and in width. MMAction2's ``RandomErasing`` clips larger boxes to the
    frame, and fills with integers from 0 to 255: it cuts the noise at two standard deviations and shifts the constant
    by up to 0.02 standard deviations.

    Sources: timm ``RandomErasing``; mode 'const' in Video Swin's SSv2 config, 'pixel' (here 'rand') in UniFormer's
    ``slowfast/datasets/random_erasing.py`` (all frames share the box).

    Args:
        mean: of the data preprocessor, for pixel values from 0 to 255.
        std: of the data preprocessor.
        erase_prob: share of the clips that are erased.
        mode: 'const' or 'rand'.

    Required keys: imgs. Modified: imgs.
    """

    def __init__(
        self,
        mean: Mean,
        std: Std,
        erase_prob: Share = 0.25,
        mode: Annotated[str, OneOf(('const', 'rand'))] = 'const',
    ) -> None:
        super().__init__(erase_prob=float(erase_prob), mode=mode)
        self.mean = np.asarray(mean, dtype=np.float32)
        self.std = np.asarray(std, dtype=np.float32)

    def random_patch(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Return top, left, height and width of a box; draw again while it reaches the height or width of the frame."""
        log_aspect_range = np.log(self.aspect_range)
        for _ in range(100):
            aspect_ratio = np.exp(np.random.uniform(*log_aspect_range))
            area = height * width * np.random.uniform(self.min_area_ratio, self.max_area_ratio)
            h, w = round(np.sqrt(area * aspect_ratio)), round(np.sqrt(area / aspect_ratio))
            if h < height and w < width:
                return np.random.randint(height - h + 1), np.random.randint(width - w + 1), h, w
        return 0, 0, 0, 0

    def _img_fill_pixels(self, img: np.ndarray, top: int, left: int, h: int, w: int) -> np.ndarray:
        img = img.astype(np.float32)
        noise = np.random.standard_normal((h, w, 3)) if self.mode == 'rand' else np.zeros((h, w, 3))
        img[top : top + h, left : left + w] = self.mean + self.std * noise
        return img

    def __repr__(self) -> str:
        mean, std = self.mean.tolist(), self.std.tolist()
        return f'NormalizedErasing(mean={mean}, std={std}, erase_prob={self.erase_prob}, mode={self.mode!r})'
