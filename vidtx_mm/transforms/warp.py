"""Geometric operations on clips (T, H, W, 3) of uint8, the same for all frames.

Bicubic ones agree with PIL's to one gray level. What lies outside a frame becomes gray.
"""

from collections.abc import Callable
from math import cos, floor, radians, sin

import cv2
import numpy as np
import torch
from torch.nn.functional import embedding_bag

GRAY = 128


def _rotation(degrees: float, height: int, width: int) -> np.ndarray:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    x, y = width / 2, height / 2
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y]])


MATRICES: dict[str, Callable[[float, int, int], np.ndarray]] = {
    'rotate': _rotation,
    'shear_x': lambda factor, height, width: np.array([[1, factor, 0], [0, 1, 0]]),
    'shear_y': lambda factor, height, width: np.array([[1, 0, 0], [factor, 1, 0]]),
    'translate_x': lambda share, height, width: np.array([[1, 0, share * width], [0, 1, 0]]),
    'translate_y': lambda share, height, width: np.array([[1, 0, 0], [0, 1, share * height]]),
}
"""By operation: from argument (degrees counterclockwise, factor, share of the side), height and width to a matrix.

A matrix ((a, b, c), (d, e, f)) takes the point (x, y) of the output from (a x + b y + c, d x + e y + f), as PIL's
``Image.transform``; centers of pixels are at halves.
"""


def _between_pixels(matrix: np.ndarray) -> np.ndarray:
    """Return the matrix for centers of pixels at integers."""
    out = matrix.astype(float)
    out[:, 2] += out[:, :2].sum(1) / 2 - 0.5
    return out


def nearest(clip: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Take the nearest pixel."""
    matrix, size = _between_pixels(matrix), clip.shape[2:0:-1]
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    for frame in clip:
        frame[:] = cv2.warpAffine(frame, matrix, size, flags=flags, borderValue=(GRAY,) * 3)
    return clip


def bicubic(clip: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Interpolate by PIL's cubic kernel, in the fastest of four ways that give the same."""
    (a, b, c), (d, e, f) = between = _between_pixels(matrix)
    if (a, b, d, e) == (1, 0, 0, 1):
        out = _translate(clip, c, f)
    elif (a, d, e, f) == (1, 0, 1, 0):
        out = _shift_rows(clip, b * np.arange(clip.shape[1]) + c)
    elif (a, b, c, e) == (1, 0, 0, 1):
        out = _transpose(_shift_rows(_transpose(clip), d * np.arange(clip.shape[2]) + f))
    else:
        out = _interpolate(clip, between)
    return _gray_outside(out, matrix)


def _weights(fraction: np.ndarray | float) -> np.ndarray:
    """Weights of four neighbors, at a fraction of the way from the second to the third: the cubic with a = -1."""
    x = fraction
    x2 = x * x
    x3 = x2 * x
    return np.array([2 * x2 - x - x3, 1 - 2 * x2 + x3, x + x2 - x3, x3 - x2])


def _filter(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Weigh each pixel, one before and two after it; cut to integers, as PIL, instead of rounding."""
    anchor = tuple(1 if side == 4 else 0 for side in kernel.shape[::-1])
    return cv2.filter2D(image, -1, kernel, anchor=anchor, delta=-0.499)


def _pad(image: np.ndarray, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_REPLICATE)


def _translate(clip: np.ndarray, right: float, down: float) -> np.ndarray:
    height, width = clip.shape[1:3]
    x, y = floor(right), floor(down)
    kernel = np.outer(_weights(down - y), _weights(right - x))
    left, top = max(1 - x, 0), max(1 - y, 0)
    window = np.s_[y + top - 1 : y + top + height + 2, x + left - 1 : x + left + width + 2]
    for frame in clip:
        padded = _pad(frame, top, max(y + 2, 0), left, max(x + 2, 0))
        frame[:] = _filter(padded[window], kernel)[1:-2, 1:-2]
    return clip


def _shift_rows(clip: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Take pixel x of row y from x + shifts[y]: one filter for a row in all frames."""
    width = clip.shape[2]
    for y, shift in enumerate(shifts):
        step = floor(shift)
        left = max(1 - step, 0)
        padded = _pad(clip[:, y], 0, 0, left, max(step + 2, 0))
        window = padded[:, step + left - 1 : step + left + width + 2]
        clip[:, y] = _filter(window, _weights(shift - step)[None])[:, 1:-2]
    return clip


def _transpose(clip: np.ndarray) -> np.ndarray:
    return np.stack([cv2.transpose(frame) for frame in clip])


def _interpolate(clip: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Interpolate between pixels of two axes.

    A pixel of the output is the weighted sum of 16 of the input, with the same indices and weights in all frames and
    channels: a bag of 16 embeddings of 3 T values. OpenCV takes longer for a coarser result. Rows are taken ``step`` at
    a time, to keep memory small.
    """
    (height, width), border, step = clip.shape[1:3], 2, 16
    stride = width + 2 * border
    pixels = torch.from_numpy(_pixels_by_frames([_pad(frame, *[border] * 4) for frame in clip])).float()
    offsets = (stride * np.arange(4, dtype=np.int32)[:, None] + np.arange(4, dtype=np.int32)).reshape(1, 16)
    out = torch.empty(height * width, pixels.shape[1], dtype=torch.uint8)
    for start in range(0, height, step):
        rows = np.arange(start, min(start + step, height))[:, None]
        x, y = (along * np.arange(width) + down * rows + shift for along, down, shift in matrix)
        left, top = np.floor(x).astype(np.int32), np.floor(y).astype(np.int32)
        weights_x, weights_y = _weights((x - left).astype(np.float32)), _weights((y - top).astype(np.float32))
        weights = cv2.transpose((weights_y[:, None] * weights_x).reshape(16, -1))
        corners = (top.clip(-1, height - 1) + border - 1) * stride + left.clip(-1, width - 1) + border - 1
        indices = torch.from_numpy(corners.reshape(-1, 1) + offsets)
        bags = embedding_bag(indices, pixels, per_sample_weights=torch.from_numpy(weights), mode='sum')
        out[start * width : (start + step) * width] = bags.add_(0.001).clamp_(0, 255)
    return _frames_by_pixels(out.numpy(), height, width)


def _pixels_by_frames(frames: list[np.ndarray]) -> np.ndarray:
    """Turn T frames (H, W, 3) into (H * W, 3 * T)."""
    return cv2.transpose(
        np.stack([plane for frame in frames for plane in cv2.split(frame)]).reshape(3 * len(frames), -1)
    )


def _frames_by_pixels(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    planes = list(cv2.transpose(pixels).reshape(-1, height, width))
    return np.stack([cv2.merge(planes[i : i + 3]) for i in range(0, len(planes), 3)])


def _gray_outside(clip: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    height, width = clip.shape[1:3]
    columns, rows = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    x, y = (a * columns + b * rows + c for a, b, c in matrix)
    outside = ((x < 0) | (x >= width) | (y < 0) | (y >= height)).astype(np.uint8)
    gray = np.full_like(clip[0], GRAY)
    for frame in clip:
        cv2.copyTo(gray, outside, frame)
    return clip
