"""How to load a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..checks import choose
from .errors import listed
from .inflate import KERNEL_RULES, POS_INTERPOLATIONS, RANDOM
from .labels import CLASS_ORDERS
from .sources import OWN, SOURCES

HEADS = ('auto', 'keep', 'drop')


@dataclass(frozen=True)
class Options:
    """How to load; see :func:`vidtx_mm.weights.load_pretrained`."""

    source: str = 'auto'
    inflate: str | None = None
    head: str = 'auto'
    class_order: str = 'auto'
    pos_interpolation: str = 'bicubic'
    keep_init: str = ''

    def __post_init__(self) -> None:
        valid: dict[str, tuple[str | None, ...]] = {
            'source': ('auto', OWN, *SOURCES),
            'inflate': (None, *KERNEL_RULES, RANDOM),
            'head': HEADS,
            'class_order': CLASS_ORDERS,
            'pos_interpolation': POS_INTERPOLATIONS,
        }
        for name, values in valid.items():
            choose(name, getattr(self, name), values)

    @classmethod
    def parse(cls, options: Mapping[str, Any]) -> 'Options':
        """From keyword arguments; unknown ones raise and list the valid ones."""
        valid = [option.name for option in fields(cls)]
        unknown = [name for name in options if name not in valid]
        if unknown:
            raise TypeError(f'unknown option {listed(unknown)}: choose from {", ".join(valid)}')
        return cls(**options)
