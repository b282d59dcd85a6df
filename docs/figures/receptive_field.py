"""Compute the tokens that a query sees, from the gradient of its output with respect to all tokens."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Grid = tuple[int, int, int]
Attend = Callable[[Tensor], Tensor]  # (B, T, H, W, DIM) patches -> output of an attention, same shape
DIM = 8
THRESHOLD = 1e-20  # Swin masks by adding -100, which leaves a weight of e**-100


class View(NamedTuple):
    """An attention, and the grid of tokens to draw it on."""

    attend: Attend
    grid: Grid = (4, 8, 8)

    @property
    def query(self) -> Grid:
        """Return a token off the center, so that no symmetry hides a mistake."""
        frames, height, width = self.grid
        return (frames - 1) // 2, min(2, height - 1), min(5, width - 1)

    def seen(self) -> Tensor:
        """Return the tokens that the query sees, (T, H, W) bool."""
        return seen(self.attend, self.grid, self.query)


def seen(attend: Attend, grid: Grid, query: Grid) -> Tensor:
    """Return the tokens on which the output at ``query`` depends, (T, H, W) bool."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(1, *grid, DIM, generator=generator, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(attend(patches)[(0, *query)].sum(), patches)
    return (gradient[0].abs() > THRESHOLD).any(-1)


def randomize(module: nn.Module) -> None:
    """Replace all weights by random ones, since zero-initialized branches have no effect; use float64 and eval mode."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.double().eval().parameters():
        parameter.data.normal_(std=0.3, generator=generator)
