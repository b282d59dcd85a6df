"""Progress bars on stderr, which leave nothing behind."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar('T')


def track(items: Iterable[T], text: str, total: float | None = None) -> Iterator[T]:
    """Yield the items and show how far they are; nothing is printed where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import track as rich_track

    return iter(rich_track(items, text, total=total, console=Console(stderr=True), transient=True))
