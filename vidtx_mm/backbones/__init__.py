"""The backbones, one file per family."""

from .uniformer import ImageUniFormer, VideoUniFormer
from .video_swin import VideoSwin

__all__ = ['ImageUniFormer', 'VideoSwin', 'VideoUniFormer']
