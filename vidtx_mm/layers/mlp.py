"""The two-layer MLP of a transformer block."""

from torch import Tensor, nn

from .parts import in_parts


class Mlp(nn.Module):
    """Linear, GELU, linear over the last axis."""

    def __init__(self, dim: int, hidden_dim: int, gelu: str = 'none') -> None:
        """``gelu`` is 'none' for the exact GELU, 'tanh' for its approximation (JAX models)."""
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU(approximate=gelu)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        return in_parts(self._transform, x.flatten(0, -2), self.fc1.out_features).view(*x.shape[:-1], -1)

    def _transform(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))
