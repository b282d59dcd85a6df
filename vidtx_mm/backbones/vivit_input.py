"""What ViViT takes: sampling of frames, and warnings of clips that hardly anyone means."""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor


def uniform_frames(frames: int, count: int) -> list[int]:
    """``count`` frames at equal distances from each other and from both ends of a clip (section 3.2).

    The rounding is that of google-research/scenic, common_lib/video_utils.py, which now and then returns one more.
    """
    if count == frames:
        return list(range(frames))
    return [min(round(index * frames / (count + 1)), frames - 1) for index in range(1, count + 1)]


def whole_tubelets(x: Tensor, frames: int) -> Tensor:
    """Repeat the last frame of a clip (B, C, T, H, W) until tubelets of so many ``frames`` fill it, with a warning."""
    rest = -x.shape[2] % frames
    if not rest:
        return x
    if not torch.compiler.is_compiling():
        warnings.warn(
            f'ViViT: a clip of {x.shape[2]} frames is no whole number of tubelets of {frames} frames: its last frame '
            f'is repeated. Sample clips whose length (clip_len) {frames} divides',
            stacklevel=4,
        )
    return torch.cat([x, x[:, :, -1:].expand(-1, -1, rest, -1, -1)], 2)


def warn_of_range(x: Tensor, expected: Sequence[float]) -> None:
    """Warn if values lie outside the (least, most) that are expected, or all in their upper half, as [0, 1] does."""
    least, most = expected
    low, high = (value.item() for value in torch.aminmax(x.detach()))
    beyond = 0.01 * (most - least)
    if low < least - beyond or high > most + beyond or least + most <= 2 * low < 2 * high:
        warnings.warn(
            f'ViViT: the first clips hold values from {low:.4g} to {high:.4g}, where the published weights take '
            f'{least:.4g} to {most:.4g}. Set mean=[127.5] * 3, std=[127.5] * 3 in data_preprocessor (pixels / 127.5 - '
            '1), or, for weights of your own, input_range=None in the backbone',
            stacklevel=4,
        )
