"""The two-layer perceptron of a transformer block."""

import torch
from torch import Tensor, nn

# Inference on a CPU computes as many tokens at a time as have this many hidden values (4 MiB in float32), so that the
# hidden layer stays in the cache and takes no fresh memory.
HIDDEN_VALUES = 2**20


class Mlp(nn.Module):
    """Linear, GELU, linear over the last axis."""

    def __init__(self, dim: int, hidden_dim: int, gelu: str = 'none') -> None:
        """``gelu`` is 'none' for the exact GELU, 'tanh' for its approximation (JAX models)."""
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden_dim)
        self.act = nn.GELU(approximate=gelu)
        self.fc2 = nn.Linear(hidden_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != 'cpu':
            return self._transform(x)
        tokens = x.flatten(0, -2).split(max(HIDDEN_VALUES // self.fc1.out_features, 1))
        return torch.cat([self._transform(part) for part in tokens]).view(*x.shape[:-1], -1)

    def _transform(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))
