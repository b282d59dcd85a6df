"""The input that a model expects, read from its config."""

from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor


@dataclass(frozen=True)
class Preprocess:
    """The input that a model expects, as its config tests it.

    Attributes:
        mean: subtracted from each channel, in the order of ``channel_order``; pixels run from 0 to 255.
        std: divides each channel after that.
        channel_order: 'rgb' or 'bgr'.
        clip_len: frames of a clip.
        frame_interval: frames of the video from one frame of the clip to the next; None where frames are spread over
            the whole video.
        target_fps: the frame rate that ``frame_interval`` counts in; None for the rate of the video.
        size: (height, width) of a crop, None where frames are taken whole.
        protocol: the published rule of sampling, None for the host's.
        views: clips and crops that a test averages.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: str
    clip_len: int
    frame_interval: int | None
    target_fps: float | None
    size: tuple[int, int] | None
    protocol: str | None
    views: tuple[int, int]

    def __call__(self, clip: Tensor) -> Tensor:
        """Normalize RGB pixels from 0 to 255: (B, 3, T, H, W) -> (B, 3, T, H, W)."""
        pixels = clip.flip(1) if self.channel_order == 'bgr' else clip
        mean, std = (pixels.new_tensor(v, dtype=torch.float32).view(-1, 1, 1, 1) for v in (self.mean, self.std))
        return (pixels - mean) / std

    @classmethod
    def of(cls, cfg: Config) -> 'Preprocess':
        """Read it from a recognizer config."""
        steps = cfg.test_dataloader.dataset.pipeline
        pixels = cfg.model.data_preprocessor

        def found(key: str, default: Any = None) -> Any:
            return next((step[key] for step in steps if key in step), default)

        side = found('crop_size')
        crops = 3 if any(step['type'].endswith('ThreeCrop') for step in steps) else found('num_crops', 1)
        return cls(
            mean=tuple(pixels.mean),
            std=tuple(pixels.std),
            channel_order='bgr' if pixels.get('to_rgb') else 'rgb',  # decoders give RGB, so that a swap makes BGR
            clip_len=found('clip_len'),
            frame_interval=found('frame_interval'),
            target_fps=found('target_fps'),
            size=None if side is None else (side, side) if isinstance(side, int) else tuple(side),
            protocol=found('protocol'),
            views=(found('num_clips', 1), crops),
        )
