"""The backbones, one file per family."""

from .timesformer import VideoTimeSformer
from .uniformer import ImageUniFormer, VideoUniFormer
from .video_swin import VideoSwin
from .vivit import ViViT

__all__ = ['ImageUniFormer', 'VideoSwin', 'VideoTimeSformer', 'VideoUniFormer', 'ViViT']
