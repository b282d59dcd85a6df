"""Hooks for runs that survive and tell the truth; write them as ``dict(type='vidtx_mm.SafeCheckpointHook')``."""

from .checkpoint import SafeCheckpointHook
from .exact_resume import ExactResumeHook
from .nonfinite import NonFiniteGuard
from .preflight import PreflightHook
from .unreadable import UnreadableVideosHook

__all__ = ['ExactResumeHook', 'NonFiniteGuard', 'PreflightHook', 'SafeCheckpointHook', 'UnreadableVideosHook']
