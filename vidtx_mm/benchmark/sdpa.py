"""Record the backend that PyTorch chooses for each scaled dot-product attention of a model."""

import re
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

FUSED = re.compile('_scaled_dot_product_(flash|efficient|cudnn)_attention')  # operators; math has none of its own


class Call(NamedTuple):
    """One attention: backend, (G, heads, N, D) of the queries, and whether a bias or mask is added."""

    backend: str
    shape: tuple[int, ...]
    bias: bool


class AttentionCalls(TorchFunctionMode):
    """Context that records the attentions within it as ``calls``, in order of computation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention:
            return func(*args, **kwargs)
        with _Operators() as operators:
            out: Tensor = func(*args, **kwargs)
        self.calls.append(Call(operators.backend, tuple(out.shape), kwargs.get('attn_mask') is not None))
        return out


class _Operators(TorchDispatchMode):
    backend = 'math'

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if found := FUSED.search(func.overloadpacket.__name__):
            self.backend = found[1]
        return func(*args, **(kwargs or {}))
