"""Classification heads and the metric of the two-label one."""

from .cls_head import VideoClsHead
from .multi_head import MultiHeadAccuracy, VideoMultiClsHead
from .token_head import VideoTokenClsHead

__all__ = ['MultiHeadAccuracy', 'VideoClsHead', 'VideoMultiClsHead', 'VideoTokenClsHead']
