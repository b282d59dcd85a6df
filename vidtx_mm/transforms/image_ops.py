"""The operations of RandAugment on clips (T, H, W, 3) of uint8, and their arguments.

An argument is a function of the share of the full strength: level 7 of 10 is 0.7.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

ImageOp = Callable[[Image.Image, Any], Image.Image]
ClipOp = Callable[[np.ndarray, Any], np.ndarray]
Argument = Callable[[float], Any]
Operations = dict[str, tuple[ClipOp, Argument]]

GRAY = (128, 128, 128)


def each_frame(op: ImageOp) -> ClipOp:
    """The same argument for every frame; statistics (contrast, histogram) are those of each frame."""
    return lambda clip, arg: np.stack([np.asarray(op(Image.fromarray(frame), arg)) for frame in clip])


def whole_clip(op: ImageOp) -> ClipOp:
    """All frames as one image, one below the other; statistics are those of the clip."""

    def apply(clip: np.ndarray, arg: Any) -> np.ndarray:
        column = clip.reshape(-1, *clip.shape[2:])
        return np.array(op(Image.fromarray(column), arg)).reshape(clip.shape)

    return apply


def auto_contrast(img: Image.Image, _: None) -> Image.Image:
    return ImageOps.autocontrast(img)


def equalize(img: Image.Image, _: None) -> Image.Image:
    return ImageOps.equalize(img)


def invert(img: Image.Image, _: None) -> Image.Image:
    return ImageOps.invert(img)


def posterize(img: Image.Image, bits: int) -> Image.Image:
    return ImageOps.posterize(img, min(bits, 8))


def solarize(img: Image.Image, threshold: int) -> Image.Image:
    return ImageOps.solarize(img, threshold)


def solarize_add(img: Image.Image, value: int) -> Image.Image:
    return img.point([min(255, i + value) if i < 128 else i for i in range(256)] * 3)


def color(img: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Color(img).enhance(factor)


def contrast(img: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Contrast(img).enhance(factor)


def contrast_to_white(img: Image.Image, factor: float) -> Image.Image:
    """TensorFlow's 'equivalent of PIL Contrast' blends with white in any image of more than 65,280 pixels.

    It divides the sum of the histogram, that is the number of pixels, by 256 and takes this as the mean gray value
    (``official/legacy/image_classification/augment.py::contrast``).
    """
    return Image.blend(Image.new('RGB', img.size, (255, 255, 255)), img, factor)


def brightness(img: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Brightness(img).enhance(factor)


def sharpness(img: Image.Image, factor: float) -> Image.Image:
    return ImageEnhance.Sharpness(img).enhance(factor)


def geometry(resample: Image.Resampling) -> dict[str, ClipOp]:
    """Return the geometric operations by the given interpolation; what lies outside a frame is gray."""

    def affine(matrix: Callable[[Image.Image, float], tuple[float, ...]]) -> ClipOp:
        return each_frame(
            lambda img, arg: img.transform(
                img.size, Image.Transform.AFFINE, matrix(img, arg), resample=resample, fillcolor=GRAY
            )
        )

    return {
        'rotate': each_frame(lambda img, degrees: img.rotate(degrees, resample=resample, fillcolor=GRAY)),
        'shear_x': affine(lambda _, factor: (1, factor, 0, 0, 1, 0)),
        'shear_y': affine(lambda _, factor: (1, 0, 0, factor, 1, 0)),
        'translate_x': affine(lambda img, share: (1, 0, share * img.width, 0, 1, 0)),
        'translate_y': affine(lambda img, share: (1, 0, 0, 0, 1, share * img.height)),
    }


BICUBIC, NEAREST = geometry(Image.Resampling.BICUBIC), geometry(Image.Resampling.NEAREST)


def blur(img: Image.Image, _: None) -> Image.Image:
    return img.filter(ImageFilter.BLUR)


def smooth(img: Image.Image, _: None) -> Image.Image:
    return img.filter(ImageFilter.SMOOTH)


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
    return _cut_out(clip, round(share * min(clip.shape[1:3]) / 2), 128)


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


INCREASING: Operations = {
    'auto_contrast': (each_frame(auto_contrast), _none),
    'equalize': (each_frame(equalize), _none),
    'invert': (each_frame(invert), _none),
    'rotate': (BICUBIC['rotate'], _either_sign(30)),
    'posterize': (each_frame(posterize), _down_from(4, 4)),
    'solarize': (each_frame(solarize), _down_from(256, 256)),
    'solarize_add': (each_frame(solarize_add), _whole(110)),
    'color': (each_frame(color), _away_from_one),
    'contrast': (each_frame(contrast), _away_from_one),
    'brightness': (each_frame(brightness), _away_from_one),
    'sharpness': (each_frame(sharpness), _away_from_one),
    'shear_x': (BICUBIC['shear_x'], _either_sign(0.3)),
    'shear_y': (BICUBIC['shear_y'], _either_sign(0.3)),
    'translate_x': (BICUBIC['translate_x'], _either_sign(0.45)),
    'translate_y': (BICUBIC['translate_y'], _either_sign(0.45)),
}
"""timm's 'increasing' operations: the higher the level, the stronger."""

PLAIN: Operations = {
    **INCREASING,
    'posterize': (each_frame(posterize), _whole(4)),
    'solarize': (each_frame(solarize), _whole(256)),
    'color': (each_frame(color), _from_a_tenth),
    'contrast': (each_frame(contrast), _from_a_tenth),
    'brightness': (each_frame(brightness), _from_a_tenth),
    'sharpness': (each_frame(sharpness), _from_a_tenth),
}
"""timm's operations without 'inc1'."""

PIXELWISE: Operations = {
    'auto_contrast': (whole_clip(auto_contrast), _none),
    'equalize': (whole_clip(equalize), _none),
    'invert': (whole_clip(invert), _none),
    'posterize': (whole_clip(posterize), _whole(4)),
    'solarize': (whole_clip(solarize), _whole(256)),
    'color': (whole_clip(color), _from_a_tenth),
    'contrast': (whole_clip(contrast_to_white), _from_a_tenth),
    'brightness': (whole_clip(brightness), _from_a_tenth),
    'sharpness': (whole_clip(sharpness), _from_a_tenth),
    'cutout': (cutout_black, _whole(40)),
    'solarize_add': (whole_clip(solarize_add), _whole(110)),
    'nothing': (nothing, _none),
}
"""ViViT's operations: those that need no geometry, on the frames stacked to one image, and doing nothing."""

IMGAUG: Operations = {
    'nothing': (nothing, _none),
    'auto_contrast': (each_frame(auto_contrast), _none),
    'equalize': (each_frame(equalize), _none),
    'invert': (each_frame(invert), _none),
    'rotate': (NEAREST['rotate'], _either_sign(30)),
    'posterize': (each_frame(posterize), _down_from(8, 6)),
    'solarize': (each_frame(solarize), _down_from(256, 256)),
    'color': (each_frame(color), _away_from_one),
    'contrast': (each_frame(contrast), _away_from_one),
    'brightness': (each_frame(brightness), _away_from_one),
    'sharpness': (each_frame(sharpness), _away_from_one),
    'shear_x': (NEAREST['shear_x'], _either_sign(0.3)),
    'shear_y': (NEAREST['shear_y'], _either_sign(0.3)),
    'translate_x': (NEAREST['translate_x'], _either_sign(0.33)),
    'translate_y': (NEAREST['translate_y'], _either_sign(0.33)),
    'cutout': (cutout_gray, lambda share: share * 20 / 32),
    'blur': (each_frame(blur), _none),
    'smooth': (each_frame(smooth), _none),
}
"""imgaug's operations, without the flip and the crop that it puts before them."""
