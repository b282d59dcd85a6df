"""The operations of RandAugment on clips (T, H, W, 3) of uint8, and their arguments.

An argument is a function of the share of the full strength: level 7 of 10 is 0.7. Operations are ``Pointwise``, by
lookup tables, or functions of clip and argument. They may write into the clip: new memory costs more than most of them.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from . import lookup, warp
from .lookup import Pointwise, look_up

ClipOp = Callable[[np.ndarray, Any], np.ndarray]
Argument = Callable[[float], Any]
Operations = dict[str, tuple[Pointwise | ClipOp, Argument]]

_LUMA = np.array([[19595, 38470, 7471, 32768]], dtype=np.float32) / 65536
_BLUR = np.pad(np.zeros((3, 3)), 1, constant_values=1 / 16)
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13


def _blend(base: np.ndarray, image: np.ndarray, factor: float, out: np.ndarray) -> None:
    """Write base + factor * (image - base) to a frame of uint8, in float32 as PIL's ``Image.blend``; changes image."""
    image -= base
    image *= np.float32(factor)
    image += base
    np.clip(image, 0, 255, out=image)
    np.copyto(out, image, casting='unsafe')


def _luma(image: np.ndarray) -> np.ndarray:
    """Convert an image (H, W, 3) of float32 to gray (H, W) with the integers of PIL's mode 'L'."""
    gray = cv2.transform(image, _LUMA)
    return np.floor(gray, out=gray)


def color(clip: np.ndarray, factor: float) -> np.ndarray:
    image, gray = np.empty((2, *clip.shape[1:]), np.float32)
    for frame in clip:
        np.copyto(image, frame)
        cv2.cvtColor(_luma(image), cv2.COLOR_GRAY2RGB, dst=gray)
        _blend(gray, image, factor, out=frame)
    return clip


def contrast(clip: np.ndarray, factor: float) -> np.ndarray:
    """Blend each frame with its mean gray value."""
    means = [int(_luma(frame.astype(np.float32)).mean(dtype=float) + 0.5) for frame in clip]
    return look_up(clip, np.array([lookup.blend(mean, factor) for mean in means]))


def _convolve(frame: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Filter a frame as PIL does: halves are rounded up, and the border stays as it is."""
    edge = len(kernel) // 2
    out = cv2.filter2D(frame, -1, kernel, delta=0.001)
    for border in np.s_[:edge, :], np.s_[-edge:, :], np.s_[:, :edge], np.s_[:, -edge:]:
        out[border] = frame[border]
    return out


def blur(clip: np.ndarray, _: None) -> np.ndarray:
    for frame in clip:
        frame[:] = _convolve(frame, _BLUR)
    return clip


def smooth(clip: np.ndarray, _: None) -> np.ndarray:
    for frame in clip:
        frame[:] = _convolve(frame, _SMOOTH)
    return clip


def sharpness(clip: np.ndarray, factor: float) -> np.ndarray:
    image, smoothed = np.empty((2, *clip.shape[1:]), np.float32)
    for frame in clip:
        np.copyto(image, frame)
        np.copyto(smoothed, _convolve(frame, _SMOOTH))
        _blend(smoothed, image, factor, out=frame)
    return clip


def sharpness_of_column(clip: np.ndarray, factor: float) -> np.ndarray:
    """Sharpen the frames as one image, one below the other."""
    return sharpness(clip.reshape(1, -1, *clip.shape[2:]), factor).reshape(clip.shape)


def geometry(resample: Callable[[np.ndarray, np.ndarray], np.ndarray], name: str) -> ClipOp:
    return lambda clip, argument: resample(clip, warp.MATRICES[name](argument, *clip.shape[1:3]))


def _cut_out(clip: np.ndarray, half: int, value: int) -> np.ndarray:
    """Fill one square of side 2 * ``half`` around a random center, the same in all frames."""
    y, x = (np.random.randint(side) for side in clip.shape[1:3])
    clip = clip.copy()
    clip[:, max(y - half, 0) : y + half, max(x - half, 0) : x + half] = value
    return clip


def cutout_black(clip: np.ndarray, half: int) -> np.ndarray:
    return _cut_out(clip, half, 0)


def cutout_gray(clip: np.ndarray, share: float) -> np.ndarray:
    """Fill a square whose side is a share of the short side."""
    return _cut_out(clip, round(share * min(clip.shape[1:3]) / 2), warp.GRAY)


def nothing(clip: np.ndarray, _: None) -> np.ndarray:
    return clip


def _none(share: float) -> None:
    return None


def _either_sign(full: float) -> Argument:
    return lambda share: share * full * np.random.choice((-1, 1))


def _whole(full: int) -> Argument:
    return lambda share: int(share * full)


def _down_from(start: int, full: int) -> Argument:
    return lambda share: start - int(share * full)


def _away_from_one(share: float) -> float:
    return 1 + share * 0.9 * np.random.choice((-1, 1))


def _from_a_tenth(share: float) -> float:
    return share * 1.8 + 0.1


INVERT = Pointwise(lookup.invert)
POSTERIZE = Pointwise(lookup.posterize)
SOLARIZE = Pointwise(lookup.solarize)
SOLARIZE_ADD = Pointwise(lookup.solarize_add)
BRIGHTNESS = Pointwise(lookup.brightness)

INCREASING: Operations = {
    'auto_contrast': (Pointwise(lookup.auto_contrast, statistics='frame'), _none),
    'equalize': (Pointwise(lookup.equalize, statistics='frame'), _none),
    'invert': (INVERT, _none),
    'rotate': (geometry(warp.bicubic, 'rotate'), _either_sign(30)),
    'posterize': (POSTERIZE, _down_from(4, 4)),
    'solarize': (SOLARIZE, _down_from(256, 256)),
    'solarize_add': (SOLARIZE_ADD, _whole(110)),
    'color': (color, _away_from_one),
    'contrast': (contrast, _away_from_one),
    'brightness': (BRIGHTNESS, _away_from_one),
    'sharpness': (sharpness, _away_from_one),
    'shear_x': (geometry(warp.bicubic, 'shear_x'), _either_sign(0.3)),
    'shear_y': (geometry(warp.bicubic, 'shear_y'), _either_sign(0.3)),
    'translate_x': (geometry(warp.bicubic, 'translate_x'), _either_sign(0.45)),
    'translate_y': (geometry(warp.bicubic, 'translate_y'), _either_sign(0.45)),
}
"""timm's 'increasing' operations: the higher the level, the stronger."""

PLAIN: Operations = {
    **INCREASING,
    'posterize': (POSTERIZE, _whole(4)),
    'solarize': (SOLARIZE, _whole(256)),
    'color': (color, _from_a_tenth),
    'contrast': (contrast, _from_a_tenth),
    'brightness': (BRIGHTNESS, _from_a_tenth),
    'sharpness': (sharpness, _from_a_tenth),
}
"""timm's operations without 'inc1'."""

PIXELWISE: Operations = {
    'auto_contrast': (Pointwise(lookup.auto_contrast, statistics='clip'), _none),
    'equalize': (Pointwise(lookup.equalize, statistics='clip'), _none),
    'invert': (INVERT, _none),
    'posterize': (POSTERIZE, _whole(4)),
    'solarize': (SOLARIZE, _whole(256)),
    'color': (color, _from_a_tenth),
    'contrast': (Pointwise(lookup.contrast_to_white), _from_a_tenth),
    'brightness': (BRIGHTNESS, _from_a_tenth),
    'sharpness': (sharpness_of_column, _from_a_tenth),
    'cutout': (cutout_black, _whole(40)),
    'solarize_add': (SOLARIZE_ADD, _whole(110)),
    'nothing': (nothing, _none),
}
"""ViViT's operations: those that need no geometry, on the frames stacked to one image, and doing nothing."""

IMGAUG: Operations = {
    'nothing': (nothing, _none),
    'auto_contrast': INCREASING['auto_contrast'],
    'equalize': INCREASING['equalize'],
    'invert': (INVERT, _none),
    'rotate': (geometry(warp.nearest, 'rotate'), _either_sign(30)),
    'posterize': (POSTERIZE, _down_from(8, 6)),
    'solarize': (SOLARIZE, _down_from(256, 256)),
    'color': (color, _away_from_one),
    'contrast': (contrast, _away_from_one),
    'brightness': (BRIGHTNESS, _away_from_one),
    'sharpness': (sharpness, _away_from_one),
    'shear_x': (geometry(warp.nearest, 'shear_x'), _either_sign(0.3)),
    'shear_y': (geometry(warp.nearest, 'shear_y'), _either_sign(0.3)),
    'translate_x': (geometry(warp.nearest, 'translate_x'), _either_sign(0.33)),
    'translate_y': (geometry(warp.nearest, 'translate_y'), _either_sign(0.33)),
    'cutout': (cutout_gray, lambda share: share * 20 / 32),
    'blur': (blur, _none),
    'smooth': (smooth, _none),
}
"""imgaug's operations, without the flip and the crop that it puts before them."""
