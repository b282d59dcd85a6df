"""Read flax and NumPy checkpoints without JAX.

Flax writes a pytree by msgpack: nested dicts whose leaves are extension types (flax/serialization.py). Arrays above
2**30 bytes are cut into chunks. Only the parameters are decoded; an optimizer's momentum stays packed.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError

# Extension codes of flax.serialization.
_NDARRAY, _COMPLEX, _SCALAR = 1, 2, 3
_CHUNKED = '__msgpack_chunked_array__'
# Where the parameters are: scenic's TrainState, flax.optim of big_vision, linen variables. Tried again inside a match,
# because files from before linen nest the target under 'params' once more.
_NESTS = (('optimizer', 'target'), ('opt', 'target'), ('params',))


@dataclass(frozen=True)
class _Packed:
    """An array still in its extension bytes."""

    data: bytes

    def tensor(self) -> Tensor:
        import msgpack

        shape, dtype, buffer = msgpack.unpackb(self.data, raw=True)
        name = dtype.decode()
        if name == 'bfloat16':
            return torch.from_numpy(np.frombuffer(buffer, np.int16).copy()).view(torch.bfloat16).reshape(shape)
        return torch.from_numpy(np.frombuffer(buffer, np.dtype(name)).copy()).reshape(shape)


def read_msgpack(path: Path) -> tuple[dict[str, Any], str]:
    """Return the leaves of a flax checkpoint, ``{'Transformer/encoderblock_0/...': tensor}``, and where they were."""
    try:
        import msgpack
    except ImportError as error:
        raise CheckpointError(f'{path} is a flax checkpoint: reading it needs `pip install msgpack`') from error

    def unpack(code: int, data: bytes) -> Any:
        if code in (_NDARRAY, _SCALAR):
            return _Packed(data)
        if code == _COMPLEX:
            return complex(*msgpack.unpackb(data))
        raise ValueError(f'extension type {code} is not one of flax')

    tree = msgpack.unpackb(path.read_bytes(), ext_hook=unpack, raw=False, strict_map_key=False)
    if not isinstance(tree, Mapping):
        raise CheckpointError(f'{path} is a {type(tree).__name__} in msgpack, not a flax tree: save a dict of arrays')
    return _parameters(tree)


def read_npz(path: Path) -> tuple[dict[str, Any], str]:
    """Return the arrays of an .npz file; names such as ``opt/target/embedding/kernel`` lose the nest."""
    tree: dict[str, Any] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            *parents, leaf = name.split('/')
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[leaf] = arrays[name]
    return _parameters(tree)


def _parameters(tree: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    path: list[str] = []
    while True:
        for nest in _NESTS:
            inner: Any = tree
            for key in nest:
                inner = inner.get(key) if isinstance(inner, Mapping) else None
            if isinstance(inner, Mapping):
                tree = inner
                path += nest
                break
        else:
            return dict(_leaves(tree)), '/'.join(path) or 'raw'


def _leaves(tree: Mapping[Any, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    for name, node in tree.items():
        if isinstance(node, Mapping) and _CHUNKED in node:
            yield f'{prefix}{name}', _joined(node)
        elif isinstance(node, Mapping):
            yield from _leaves(node, f'{prefix}{name}/')
        elif isinstance(node, _Packed):
            yield f'{prefix}{name}', node.tensor()
        elif node is not None:
            yield f'{prefix}{name}', node


def _joined(node: Mapping[str, Any]) -> Tensor:
    """Undo flax's chunking; its tuples are dicts with keys '0', '1', ..."""
    shape, chunks = (
        [part[str(i)] for i in range(len(part))] if isinstance(part, Mapping) else list(part)
        for part in (node['shape'], node['chunks'])
    )
    return torch.cat([chunk.tensor().reshape(-1) for chunk in chunks]).reshape(shape)
