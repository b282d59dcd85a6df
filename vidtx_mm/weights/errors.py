"""The one error of this package, and how it lists keys."""

from collections.abc import Iterable


class CheckpointError(ValueError):
    """A checkpoint cannot be read or does not fit; the message names the file, the cause and the remedy."""


def listed(names: Iterable[object], limit: int = 6) -> str:
    """``a, b, c, ... (57 in all)``: at most ``limit`` names."""
    words = [str(name) for name in names]
    if len(words) <= limit:
        return ', '.join(words)
    return f'{", ".join(words[:limit])}, ... ({len(words)} in all)'
