"""Frames by index out of any video: file, bytes or file object."""

from .errors import VideoError
from .reader import BACKENDS, VideoReader

__all__ = ['BACKENDS', 'VideoError', 'VideoReader']
