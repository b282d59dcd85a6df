"""Checks of arguments, with the one wording of their errors."""

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar('T')


def choose(name: str, value: T, valid: Iterable[T]) -> T:
    """Return ``value`` if it is one of ``valid``.

    Raises:
        ValueError: otherwise, with the valid values.
    """
    valid = list(valid)
    if value not in valid:
        raise ValueError(f'{name}={value!r}: choose one of {", ".join(map(repr, valid))}')
    return value
