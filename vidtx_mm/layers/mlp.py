"""The MLP of a transformer block."""

from collections.abc import Callable

from torch import Tensor, nn

from .kernels import chunked


class Mlp(nn.Module):
    """Linear, GELU, linear over the last axis: (..., C) -> the same.

    ``gelu`` is 'none' for the exact GELU or 'tanh' for its approximation (JAX models). ``linear`` builds the layers.
    """

    def __init__(
        self, dim: int, hidden_dim: int, gelu: str = 'none', linear: Callable[[int, int], nn.Module] = nn.Linear
    ) -> None:
        super().__init__()
        self.hidden_dim = hidden_dim
        self.fc1 = linear(dim, hidden_dim)
        self.act = nn.GELU(approximate=gelu)
        self.fc2 = linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)  # (N, C)
        return chunked(self._transform, tokens, self.hidden_dim).view(x.shape)

    def _transform(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))  # (N, C)
