"""Stand-ins for parts that an installation cannot have."""

from typing import Any


def refusal(name: str, message: str) -> type:
    """A class whose construction raises: stands for a part that this installation cannot have."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ImportError(message)

    return type(name, (), {'__init__': __init__, '__doc__': message})
