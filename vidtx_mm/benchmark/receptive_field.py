"""Which tokens a query sees: asked of the modules themselves, by the gradient of one token's output."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Grid = tuple[int, int, int]
Attend = Callable[[Tensor], Tensor]  # (B, T, H, W, DIM) patches -> what an attention gives each
DIM = 8
NOTHING = 1e-20  # Swin leaves tokens of two ends of the grid a weight of e**-100


class View(NamedTuple):
    """An attention, and the grid of tokens that shows it."""

    attend: Attend
    grid: Grid = (4, 8, 8)

    @property
    def query(self) -> Grid:
        """A token off the center, so that no symmetry hides a mistake."""
        frames, height, width = self.grid
        return (frames - 1) // 2, min(2, height - 1), min(5, width - 1)

    def seen(self) -> Tensor:
        return seen(self.attend, self.grid, self.query)


def seen(attend: Attend, grid: Grid, query: Grid) -> Tensor:
    """(T, H, W) bool: the tokens of which the output at ``query`` is a function."""
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(1, *grid, DIM, generator=generator, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(attend(patches)[(0, *query)].sum(), patches)
    return (gradient[0].abs() > NOTHING).any(-1)


def randomize(module: nn.Module) -> None:
    """Undo initial values that keep a branch without effect; in double precision and for inference."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.double().eval().parameters():
        parameter.data.normal_(std=0.3, generator=generator)
