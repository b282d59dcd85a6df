"""Sampling of ViViT's frames and tubelets."""

import warnings

import torch
from torch import Tensor


def uniform_frames(frames: int, count: int) -> list[int]:
    """Return ``count`` frames at equal distances from each other and from both ends of a clip (section 3.2).

    The rounding is that of google-research/scenic, common_lib/video_utils.py, which in rare cases returns one more.
    """
    if count == frames:
        return list(range(frames))
    return [min(round(index * frames / (count + 1)), frames - 1) for index in range(1, count + 1)]


def whole_tubelets(x: Tensor, frames: int) -> Tensor:
    """Repeat the last frame of a clip (B, C, T, H, W) until ``frames`` divides its length, with a warning."""
    rest = -x.shape[2] % frames
    if not rest:
        return x
    if not torch.compiler.is_compiling():
        warnings.warn(
            f'ViViT: clip length {x.shape[2]} is not divisible by tubelet_size[0]={frames}, so its last frame is '
            f'repeated; set clip_len to a multiple of {frames}',
            stacklevel=4,
        )
    return torch.cat([x, x[:, :, -1:].expand(-1, -1, rest, -1, -1)], 2)  # (B, C, T', H, W)
