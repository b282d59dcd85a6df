"""The MLP of a transformer block."""

from torch import Tensor, nn

from .kernels import chunked


class Mlp(nn.Module):
    """Linear, GELU, linear over the last axis: (..., C) -> the same.

    ``gelu`` is 'none' for the exact GELU or 'tanh' for its approximation (JAX models).
    """

    def __init__(self, dim: int, hidden_dim: int, gelu: str = 'none') -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU(approximate=gelu)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(0, -2)  # (N, C)
        return chunked(self._transform, tokens, self.fc1.out_features).view(x.shape)

    def _transform(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))  # (N, C)
