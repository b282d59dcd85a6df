"""Progress bars on stderr, which leave nothing behind."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar('T')


def track(items: Iterable[T], text: str, total: float | None = None) -> Iterator[T]:
    """Yield the items and show how far they are; nothing is printed where stderr is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    # What is printed meanwhile goes above the bar if it shares the terminal, else where it belongs.
    shared = sys.stdout.isatty()
    with Progress(console=Console(stderr=True), transient=True, redirect_stdout=shared) as progress:
        yield from progress.track(items, total=total, description=text)
