"""Calls that can be abandoned."""

import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar('T')


def call_within(seconds: float | None, function: Callable[..., T], *args: Any) -> T:
    """Return ``function(*args)``, or raise ``TimeoutError`` after ``seconds``; ``None`` waits forever.

    The call runs in a daemon thread. Nothing can stop a thread: one that is late goes on in the background, holds what
    it was given and keeps neither the caller nor the end of the process waiting.
    """
    if seconds is None:
        return function(*args)
    outcome: list[T] = []
    error: list[BaseException] = []

    def run() -> None:
        try:
            outcome.append(function(*args))
        except BaseException as raised:
            error.append(raised)

    thread = threading.Thread(target=run, name='vidtx_mm.video', daemon=True)
    thread.start()
    thread.join(seconds)
    if error:
        raise error[0]
    if not outcome:
        raise TimeoutError(f'not done after {seconds:g} s')
    return outcome[0]
