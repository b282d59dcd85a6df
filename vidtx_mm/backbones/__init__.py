"""The backbones, one file per family."""

from .video_swin import VideoSwin

__all__ = ['VideoSwin']
