"""Color augmentation with one draw for all frames of a clip."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.registry import TRANSFORMS

_GRAY = np.array([0.2989, 0.587, 0.114], dtype=np.float32)


def adjust_saturation(frames: np.ndarray, factor: float) -> np.ndarray:
    """Multiply the HSV saturation of RGB frames (T, H, W, 3), which stays at most 1; values may leave [0, 1].

    With the largest channel V and the range D of a pixel, the saturation is D / V, or 0 where V is not positive, and
    each channel moves to V - (V - channel) * new / old saturation.
    """
    value = frames.max(axis=-1, keepdims=True)
    spread = value - frames.min(axis=-1, keepdims=True)
    most = np.maximum(value, 0) / np.maximum(spread, np.finfo(np.float32).tiny)
    return value + (frames - value) * np.minimum(most, np.float32(factor))


def adjust_hue(frames: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of RGB frames (T, H, W, 3) by a fraction of the circle, keeping least and largest channel.

    A constant on all channels leaves the hue as it is, so that 1 is added for OpenCV, which expects positive values.
    """
    column = frames.reshape(-1, *frames.shape[2:])
    hsv = cv2.cvtColor(column + 1, cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * turn) % 360
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(frames.shape) - 1


@TRANSFORMS.register_module()
class ClipColorJitter(BaseTransform):
    """Brightness, saturation, contrast and hue, then perhaps gray; the same draw for all frames.

    In this order: brightness adds a value of at most ``brightness`` (of a range of 1), saturation and contrast multiply
    by a factor within 1 +- the value (contrast about the mean of each frame and channel), hue turns by a fraction of
    the color circle. Then values are clipped to the range, and only then a clip turns gray. MMAction2's ``ColorJitter``
    multiplies the brightness, has no probability and no gray, and draws the order once, when it is built.

    Source: ``dmvr/processors.py::color_default_augm``, used by ViViT's Kinetics configs.

    Args:
        prob: share of the clips whose colors change.
        gray_prob: share of the clips that turn gray.
        brightness: largest change, pixel values being 0 to 1.
        saturation: largest change of the factor.
        contrast: largest change of the factor.
        hue: largest turn, as a fraction of the circle.

    Required keys: imgs, RGB frames (H, W, 3), uint8. Modified: imgs.
    """

    def __init__(
        self,
        prob: float = 0.8,
        gray_prob: float = 0.1,
        brightness: float = 32 / 255,
        saturation: float = 0.4,
        contrast: float = 0.4,
        hue: float = 0.2,
    ) -> None:
        self.prob = prob
        self.gray_prob = gray_prob
        self.ranges = np.array([brightness, saturation, contrast, hue])

    def transform(self, results: dict) -> dict:
        change, gray = np.random.rand(2) < (self.prob, self.gray_prob)
        if not (change or gray):
            return results
        frames = np.stack(results['imgs']).astype(np.float32) / 255
        if change:
            frames = self._jitter(frames, *np.random.uniform(-self.ranges, self.ranges))
        if gray:
            frames = np.repeat((frames @ _GRAY)[..., None], 3, axis=-1)
        results['imgs'] = list((frames * 255).round().astype(np.uint8))
        return results

    @staticmethod
    def _jitter(frames: np.ndarray, brightness: float, saturation: float, contrast: float, hue: float) -> np.ndarray:
        frames = adjust_saturation(frames + np.float32(brightness), 1 + saturation)
        mean = frames.mean(axis=(1, 2), keepdims=True)
        frames = (frames - mean) * np.float32(1 + contrast) + mean
        return np.clip(adjust_hue(frames, hue), 0, 1)

    def __repr__(self) -> str:
        return f'ClipColorJitter(prob={self.prob}, gray_prob={self.gray_prob}, ranges={self.ranges.tolist()})'
