"""Pointwise operations on clips by lookup tables, with PIL's numbers.

A table holds the new value of each of the 256 old ones. An operation returns tables of shape (N, C, 256): N is the
number of frames, or 1 for the same table in all of them; C is 3, or 1 for the same table in all channels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

VALUES = np.arange(256)


def histograms(clip: np.ndarray) -> np.ndarray:
    """Count the values of each frame and channel of a clip (T, H, W, 3); the result is (T, 3, 256)."""
    counts = [[cv2.calcHist([frame], [c], None, [256], [0, 256]).ravel() for c in range(3)] for frame in clip]
    return np.array(counts).astype(int)


def look_up(clip: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Apply tables (N, C, 256) to a clip (T, H, W, 3) in place, and return it."""
    clip = np.ascontiguousarray(clip)
    for frame, table in zip(clip, np.broadcast_to(tables, (len(clip), *tables.shape[1:])), strict=True):
        if len(table) == 1:
            flat = frame.reshape(len(frame), -1)
            cv2.LUT(flat, np.ascontiguousarray(table[0]), dst=flat)
        else:
            cv2.LUT(frame, np.ascontiguousarray(table.T)[None], dst=frame)
    return clip


@dataclass(frozen=True)
class Pointwise:
    """An operation by lookup tables.

    Attributes:
        tables: from the argument, and with ``statistics`` from histograms (N, 3, 256) before it, to (N, C, 256).
        statistics: None, ``'frame'`` for the histograms of each frame, or ``'clip'`` for one of the clip.
    """

    tables: Callable[..., np.ndarray]
    statistics: str | None = None

    def after(self, tables: np.ndarray | None, clip: np.ndarray, argument: Any) -> np.ndarray:
        """Return the tables that apply ``tables`` to the clip and then this operation."""
        if self.statistics is None:
            new = self.tables(argument)
        else:
            counts = histograms(clip)
            counts = counts.sum(0, keepdims=True) if self.statistics == 'clip' else counts
            new = self.tables(counts if tables is None else _count_after(counts, tables), argument)
        return new if tables is None else _compose(new, tables)

    def __call__(self, clip: np.ndarray, argument: Any) -> np.ndarray:
        return look_up(clip, self.after(None, clip, argument))


def _compose(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    shape = np.broadcast_shapes(second.shape, first.shape)
    return np.take_along_axis(np.broadcast_to(second, shape), np.broadcast_to(first, shape).astype(int), axis=-1)


def _count_after(counts: np.ndarray, tables: np.ndarray) -> np.ndarray:
    """Histograms of frames whose values go through the tables."""
    moved = np.zeros_like(counts)
    for index in np.ndindex(counts.shape[:2]):
        table = np.broadcast_to(tables, (*counts.shape[:2], 256))[index]
        np.add.at(moved[index], table, counts[index])
    return moved


def _to_bytes(table: np.ndarray) -> np.ndarray:
    """Clip and cut to integers, as PIL does."""
    return np.clip(table, 0, 255).astype(np.uint8)


def blend(base: float, factor: float) -> np.ndarray:
    """Return the table of base + factor * (value - base), in float32 as PIL's ``Image.blend``."""
    return _to_bytes((VALUES.astype(np.float32) - base) * np.float32(factor) + base)[None]


def auto_contrast(counts: np.ndarray, _: None) -> np.ndarray:
    present = counts > 0
    low, high = present.argmax(-1), 255 - present[..., ::-1].argmax(-1)
    scale = np.where(high > low, 255 / np.maximum(high - low, 1), 1)
    offset = np.where(high > low, -low * scale, 0)
    return _to_bytes(VALUES * scale[..., None] + offset[..., None])


def equalize(counts: np.ndarray, _: None) -> np.ndarray:
    last = np.take_along_axis(counts, 255 - (counts > 0)[..., ::-1].argmax(-1)[..., None], axis=-1)
    step = (counts.sum(-1, keepdims=True) - last) // 255
    below = counts.cumsum(-1) - counts
    return _to_bytes(np.where(step > 0, (step // 2 + below) // np.maximum(step, 1), VALUES))


def invert(_: None) -> np.ndarray:
    return _to_bytes(255 - VALUES)[None, None]


def posterize(bits: int) -> np.ndarray:
    return _to_bytes(VALUES & ~(2 ** (8 - min(bits, 8)) - 1))[None, None]


def solarize(threshold: int) -> np.ndarray:
    return _to_bytes(np.where(threshold > VALUES, VALUES, 255 - VALUES))[None, None]


def solarize_add(value: int) -> np.ndarray:
    return _to_bytes(np.where(VALUES < 128, VALUES + value, VALUES))[None, None]


def brightness(factor: float) -> np.ndarray:
    return blend(0, factor)[None]


def contrast_to_white(factor: float) -> np.ndarray:
    """TensorFlow's 'equivalent of PIL Contrast' blends with white in any image of more than 65,280 pixels.

    It divides the sum of the histogram, that is the number of pixels, by 256 and takes this as the mean gray value
    (``official/legacy/image_classification/augment.py::contrast``).
    """
    return blend(255, factor)[None]
