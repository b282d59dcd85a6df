"""Small models of every family, for the tests that all backbones must pass."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """A reduced backbone and the input sizes it is tried with; ``pads`` says whether its grid is rounded up."""

    name: str
    type: str
    kwargs: dict[str, Any]
    stages: int
    input: tuple[int, ...] = (4, 32, 32)
    odd_input: tuple[int, ...] = (5, 37, 42)
    extra: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


_SWIN = dict(arch=dict(embed_dims=8, depths=(2, 2), num_heads=(2, 2)), window_size=(2, 3, 3), out_indices=(1,))

CASES = [
    Case('swin-joint', 'VideoSwin', dict(_SWIN), 2),
    Case('swin-split', 'VideoSwin', dict(_SWIN, attention='split'), 2),
    Case('swin-factorized', 'VideoSwin', dict(_SWIN, attention='factorized'), 2),
]
