"""Video lists with checked lines, unreadable videos survived, and repeated augmentation."""

from .lists import parse_line, read_lines
from .unreadable import UnreadableClip
from .video_list import VideoListDataset

__all__ = ['UnreadableClip', 'VideoListDataset', 'parse_line', 'read_lines']
