"""Color augmentation with one draw for all frames of a clip."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.checks import Share
from vidtx_mm.registry import TRANSFORMS

_GRAY = np.array([[0.2989, 0.587, 0.114]], dtype=np.float32)


def scale_saturation(channels: np.ndarray, factor: float, scratch: np.ndarray) -> None:
    """Multiply the HSV saturation of RGB channels (3, H, W) in place; it stays at most 1, values may leave [0, 1].

    With the largest channel V and the range D of a pixel, the saturation is D / V, or 0 where V is not positive, and
    each channel moves to V + (channel - V) * new / old saturation. ``scratch`` is (2, H, W).
    """
    value, ratio = scratch
    channels.max(axis=0, out=value)
    channels.min(axis=0, out=ratio)
    np.subtract(value, ratio, out=ratio)
    np.maximum(ratio, np.finfo(np.float32).tiny, out=ratio)
    np.divide(value, ratio, out=ratio)
    np.clip(ratio, 0, factor, out=ratio)
    channels -= value
    channels *= ratio
    channels += value


def scale_contrast(channels: np.ndarray, factor: float) -> None:
    """Multiply the distance of each channel (H, W) from its mean in place."""
    for channel in channels:
        mean = float(channel.mean())
        channel *= factor
        channel += (1 - factor) * mean


def turn_hue(frame: np.ndarray, turn: float, scratch: np.ndarray) -> None:
    """Turn the hue of an RGB frame (H, W, 3) by a fraction of the circle in place, keeping least and largest channel.

    A constant on all channels leaves the hue as it is, so that 1 is added for OpenCV, which expects positive values.
    ``scratch`` is like the frame.
    """
    frame += 1
    cv2.cvtColor(frame, cv2.COLOR_RGB2HSV, dst=scratch)
    scratch[..., 0] += 360 * (turn % 1)
    cv2.cvtColor(scratch, cv2.COLOR_HSV2RGB, dst=frame)
    frame -= 1


def _to_gray(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(cv2.transform(frame, _GRAY), cv2.COLOR_GRAY2RGB)


class Jitter:
    """Changes of brightness, saturation, contrast and hue, as distances from no change, for frames of one size.

    Buffers are kept from frame to frame: with new ones, most of the time goes into getting memory.
    """

    def __init__(self, height: int, width: int) -> None:
        self.channels = np.empty((3, height, width), np.float32)
        self.planes = np.empty((2, height, width), np.float32)
        self.hsv = np.empty((height, width, 3), np.float32)

    def __call__(self, frame: np.ndarray, brightness: float, saturation: float, contrast: float, hue: float) -> None:
        """Change an RGB frame (H, W, 3) of float32 in [0, 1] in place."""
        cv2.split(frame, list(self.channels))
        self.channels += brightness
        scale_saturation(self.channels, 1 + saturation, self.planes)
        scale_contrast(self.channels, 1 + contrast)
        cv2.merge(list(self.channels), frame)
        turn_hue(frame, hue, self.hsv)
        np.clip(frame, 0, 1, out=frame)


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
        prob: Share = 0.8,
        gray_prob: Share = 0.1,
        brightness: Share = 32 / 255,
        saturation: Share = 0.4,
        contrast: Share = 0.4,
        hue: Share = 0.2,
    ) -> None:
        self.prob = prob
        self.gray_prob = gray_prob
        self.ranges = np.array([brightness, saturation, contrast, hue])

    def transform(self, results: dict) -> dict:
        change, gray = np.random.rand(2) < (self.prob, self.gray_prob)
        if not (change or gray):
            return results
        values = np.random.uniform(-self.ranges, self.ranges).tolist() if change else None
        height, width = results['imgs'][0].shape[:2]
        jitter, frame = Jitter(height, width), np.empty((height, width, 3), np.float32)
        imgs = []
        for img in results['imgs']:
            np.multiply(img, np.float32(1 / 255), out=frame)
            if values:
                jitter(frame, *values)
            imgs.append(cv2.convertScaleAbs(_to_gray(frame) if gray else frame, alpha=255))
        results['imgs'] = imgs
        return results

    def __repr__(self) -> str:
        return f'ClipColorJitter(prob={self.prob}, gray_prob={self.gray_prob}, ranges={self.ranges.tolist()})'
