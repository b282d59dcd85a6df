"""Write state dicts in every container that the loader reads."""

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

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


class _TarPickler(pickle.Pickler):
    """Put float tensors beside the pickle, as torch 0.1 did."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, protocol=2)
        self.tensors: list[torch.Tensor] = []

    def persistent_id(self, value: Any) -> str | None:
        if type(value) is not torch.Tensor or value.dtype != torch.float32 or value.layout != torch.strided:
            return None
        if value.device.type != 'cpu':
            return None
        self.tensors.append(value)
        return str(len(self.tensors) - 1)


def write_tar(state: State, path: Path) -> None:
    """Write the format of torch 0.1: a tar archive of pickle, tensors and storages."""
    body = io.BytesIO()
    pickler = _TarPickler(body)
    pickler.dump({'state_dict': state})
    storages, tensors = (io.BytesIO(pickle.dumps(len(pickler.tensors), 2)) for _ in range(2))
    for stream in (storages, tensors):
        stream.seek(0, io.SEEK_END)
    for key, tensor in enumerate(pickler.tensors):
        number = 1000 + key
        storages.write(pickle.dumps((number, 'cpu', torch.FloatStorage), 2))
        storages.write(struct.pack('<q', tensor.numel()) + tensor.contiguous().numpy().tobytes())
        tensors.write(pickle.dumps((key, number, torch.FloatTensor), 2))
        layout = [*tensor.shape, *tensor.contiguous().stride(), 0]
        tensors.write(struct.pack(f'<ii{len(layout)}q', tensor.ndim, 0, *layout))
    storages.write(pickle.dumps([], 2))
    with tarfile.open(path, 'w', format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (('storages', storages), ('tensors', tensors), ('pickle', body)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content.getvalue())
            archive.addfile(entry, io.BytesIO(content.getvalue()))


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
    '.pth (tar)': ('pth', write_tar),
    '.safetensors': ('safetensors', write_safetensors),
    '.npz': ('npz', write_npz),
    'flax msgpack': ('msgpack', write_msgpack),
}
TORCH = ('.pth (zip)', '.pth (pickle)', '.pth (tar)')
