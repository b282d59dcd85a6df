"""Write state dicts in every container that the loader reads."""

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
from safetensors.torch import save_file

State = dict[Any, Any]


def _arrays(state: Mapping[Any, Any]) -> State:
    return {key: value.numpy() if isinstance(value, torch.Tensor) else value for key, value in state.items()}


def write_zip(state: State, path: Path) -> None:
    torch.save({'state_dict': state}, path)


def write_legacy(state: State, path: Path) -> None:
    torch.save({'state_dict': state}, path, _use_new_zipfile_serialization=False)


def write_safetensors(state: State, path: Path) -> None:
    save_file({key: value.contiguous() for key, value in state.items()}, path)


def write_npz(state: State, path: Path) -> None:
    with zipfile.ZipFile(path, 'w') as archive:
        for key, value in _arrays(state).items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asanyarray(value), allow_pickle=True)
            archive.writestr(f'{key}.npy', content.getvalue())


def write_msgpack(state: State, path: Path) -> None:
    tree: State = {}
    for key, value in _arrays(state).items():
        *parents, leaf = key.split('/') if isinstance(key, str) else [key]
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = packed(value) if isinstance(value, np.ndarray) else value
    path.write_bytes(msgpack.packb({'optimizer': {'target': tree}}, strict_types=True))


def packed(array: np.ndarray) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))


CONTAINERS: dict[str, tuple[str, Callable[[State, Path], None]]] = {
    '.pth (zip)': ('pth', write_zip),
    '.pth (pickle)': ('pth', write_legacy),
    '.safetensors': ('safetensors', write_safetensors),
    '.npz': ('npz', write_npz),
    'flax msgpack': ('msgpack', write_msgpack),
}
TORCH = ('.pth (zip)', '.pth (pickle)')
