"""Hooks for runs that survive and tell the truth; write them as ``dict(type='vidtx_mm.SafeCheckpointHook')``."""

from .checkpoint import SafeCheckpointHook
from .exact_resume import ExactResumeHook
from .nonfinite import NonFiniteGuard
from .unreadable import UnreadableVideosHook

__all__ = ['ExactResumeHook', 'NonFiniteGuard', 'SafeCheckpointHook', 'UnreadableVideosHook']
