"""Look up installed packages without importing them, and stand in for their classes."""

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def release(distribution: str) -> tuple[int, int]:
    """Return (major, minor) of a distribution, (0, 0) if it is not installed."""
    try:
        major, minor = version(distribution).split('.')[:2]
    except PackageNotFoundError:
        return 0, 0
    return int(major), int(minor)


def installed(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def placeholder(name: str, message: str) -> type:
    """Return a class whose construction raises ``ImportError(message)``."""

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ImportError(message)

    return type(name, (), {'__init__': __init__, '__doc__': message})
