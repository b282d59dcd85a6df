"""The error of this package, and lists of keys in its messages."""

from collections.abc import Iterable


class CheckpointError(ValueError):
    """Raised for a checkpoint that cannot be read or does not fit; names the file, the cause and the remedy."""


def listed(names: Iterable[object], limit: int = 6) -> str:
    """Join at most ``limit`` names: ``a, b, c, ... (57 in all)``."""
    words = [str(name) for name in names]
    if len(words) <= limit:
        return ', '.join(words)
    return f'{", ".join(words[:limit])}, ... ({len(words)} in all)'
