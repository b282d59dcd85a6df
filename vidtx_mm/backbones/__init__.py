"""The backbones, one file per family."""

from .timesformer import VideoTimeSformer
from .uniformer import ImageUniFormer, VideoUniFormer
from .uniformer_light import ImageUniFormerLight, VideoUniFormerLight
from .video_swin import VideoSwin
from .vivit import ViViT

__all__ = [
    'ImageUniFormer',
    'ImageUniFormerLight',
    'ViViT',
    'VideoSwin',
    'VideoTimeSformer',
    'VideoUniFormer',
    'VideoUniFormerLight',
]
