"""Mutations of state dicts and of the bytes of a file."""

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import torch
from containers import CONTAINERS, TORCH, State
from harness import MARKER
from torch import Tensor

Draw = random.Random


@dataclass(frozen=True)
class Hostile:
    """Run code when a pickle of it is loaded."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def hostile(draw: Draw, folder: Path) -> Hostile:
    marker = str(folder / MARKER)
    return draw.choice(
        [
            Hostile(os.mkdir, (marker,)),
            Hostile(os.system, (f'mkdir {marker}',)),
            Hostile(exec, (f'import os; os.mkdir({marker!r})',)),
            Hostile(eval, (f'__import__("os").mkdir({marker!r})',)),
            Hostile(getattr, (Hostile(__import__, ('os',)), 'mkdir')),
        ]
    )


def _replace(function: Callable[[Draw, Tensor], Any]) -> Callable[[Draw, State, Path], None]:
    """Return a mutation that replaces one tensor."""

    def mutate(draw: Draw, state: State, folder: Path) -> None:
        key = draw.choice(list(state))
        state[key] = function(draw, state[key])

    return mutate


def _spoil(value: float) -> Callable[[Draw, Tensor], Tensor]:
    def mutate(draw: Draw, tensor: Tensor) -> Tensor:
        tensor = tensor.double().float().clone().contiguous()
        tensor.view(-1)[draw.randrange(tensor.numel())] = value
        return tensor

    return mutate


def _drop(draw: Draw, state: State, folder: Path) -> None:
    for key in draw.sample(list(state), draw.choice([1, 1, 2, len(state) // 2])):
        del state[key]


def _rename(draw: Draw, state: State, folder: Path) -> None:
    key = draw.choice(list(state))
    place = draw.randrange(len(key))
    state[key[:place] + draw.choice('._0xé/') + key[place + draw.choice([0, 1]) :]] = state.pop(key)


def _extra(draw: Draw, state: State, folder: Path) -> None:
    key = draw.choice(list(state))
    state[draw.choice(['module.x', 'ema.' + key, key + '.extra', 'teacher.head.weight', ''])] = state[key].clone()


def _swap(draw: Draw, state: State, folder: Path) -> None:
    a, b = draw.sample(list(state), 2)
    state[a], state[b] = state[b], state[a]


def _prefix(draw: Draw, state: State, folder: Path) -> None:
    prefix = draw.choice(['module.', 'model.', '_orig_mod.', 'student.', 'backbone.'])
    for key in list(state):
        state[prefix + key] = state.pop(key)


def _scalar_key(draw: Draw, state: State, folder: Path) -> None:
    state[draw.choice([3, None, 2.5, ('a', 1), b'x'])] = torch.ones(2)


def _flax_key(draw: Draw, state: State, folder: Path) -> None:
    state[draw.choice([3, -1])] = np.ones(2, np.float32)


def _nest(draw: Draw, state: State, folder: Path) -> None:
    inner: Any = torch.ones(1)
    for _ in range(draw.choice([2, 20, 150])):
        inner = {'a': inner}
    state[draw.choice(list(state))] = inner


def _object(draw: Draw, state: State, folder: Path) -> None:
    values = [None, 1, 'text', [1, 2], {'a': 1}, torch.nn.Linear, torch.float32, torch.Size([2])]
    state[draw.choice(list(state))] = draw.choice(values)


def _payload(draw: Draw, state: State, folder: Path) -> None:
    state[draw.choice([*state, 'meta'])] = hostile(draw, folder)


def _pickled_array(draw: Draw, state: State, folder: Path) -> None:
    array = np.empty(1, dtype=object)
    array[0] = hostile(draw, folder)
    state[draw.choice([*state, 'meta'])] = array


def _extension(draw: Draw, state: State, folder: Path) -> None:
    bodies = [b'', b'\xc1', msgpack.packb(((2**40,), 'float32', b'')), msgpack.packb(((2,), 'object', bytes(16)))]
    state[draw.choice(list(state))] = msgpack.ExtType(draw.choice([0, 1, 2, 3, 9, 127]), draw.choice(bodies))


def _chunks(draw: Draw, state: State, folder: Path) -> None:
    chunks = {'0': msgpack.ExtType(1, msgpack.packb(((2,), 'float32', bytes(8))))}
    node = {'__msgpack_chunked_array__': True, 'shape': {'0': draw.choice([2, 3, 2**40, -1])}, 'chunks': chunks}
    node.pop(draw.choice(['shape', 'chunks', '']), None)
    state[draw.choice(list(state))] = node


def _array(dtype: Any) -> Callable[[Draw, Tensor], np.ndarray]:
    return lambda draw, tensor: tensor.numpy().astype(dtype)


EVERYWHERE = tuple(CONTAINERS)
ARRAYS = ('.npz', 'flax msgpack')
# name -> (mutation of the state dict, containers that can hold the result)
STATE_MUTATIONS: dict[str, tuple[Callable[[Draw, State, Path], None], tuple[str, ...]]] = {
    'nothing': (lambda draw, state, folder: None, EVERYWHERE),
    'integers': (_replace(lambda draw, x: x.to(draw.choice([torch.int8, torch.int32, torch.int64]))), EVERYWHERE),
    'booleans': (_replace(lambda draw, x: x > 0), EVERYWHERE),
    'complex': (_replace(lambda draw, x: x.to(torch.complex64)), (*TORCH, *ARRAYS)),
    'half precision': (_replace(lambda draw, x: x.half()), EVERYWHERE),
    'bfloat16': (_replace(lambda draw, x: x.bfloat16()), (*TORCH, '.safetensors')),
    'float8': (_replace(lambda draw, x: x.to(torch.float8_e5m2)), (*TORCH, '.safetensors')),
    'double precision': (_replace(lambda draw, x: x.double()), EVERYWHERE),
    'NaN': (_replace(_spoil(torch.nan)), EVERYWHERE),
    'infinity': (_replace(_spoil(torch.inf)), EVERYWHERE),
    'scalar': (_replace(lambda draw, x: x.float().sum()), EVERYWHERE),
    'more axes': (_replace(lambda draw, x: x[(None,) * draw.choice([1, 2])]), EVERYWHERE),
    'fewer axes': (_replace(lambda draw, x: x.flatten(draw.choice([0, -2]) if x.ndim > 1 else 0)), EVERYWHERE),
    'transposed': (_replace(lambda draw, x: x.transpose(0, -1).contiguous() if x.ndim else x), EVERYWHERE),
    'no values': (_replace(lambda draw, x: x[:0] if x.ndim else x.new_zeros(0)), EVERYWHERE),
    'fewer rows': (_replace(lambda draw, x: x[: draw.randrange(1, 1 + len(x))].clone() if x.ndim else x), EVERYWHERE),
    'more rows': (_replace(lambda draw, x: torch.cat([x, x]) if x.ndim else x), EVERYWHERE),
    'sparse': (_replace(lambda draw, x: x.to_sparse()), TORCH),
    'sparse rows': (_replace(lambda draw, x: x.reshape(len(x), -1).to_sparse_csr() if x.ndim > 1 else x), TORCH),
    'quantized': (
        _replace(lambda draw, x: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.qint8)),
        TORCH,
    ),
    'meta': (_replace(lambda draw, x: x.to('meta')), TORCH),
    'nested tensor': (_replace(lambda draw, x: torch.nested.nested_tensor([x.float()])), ('.pth (zip)',)),
    'parameter': (_replace(lambda draw, x: torch.nn.Parameter(x.float())), TORCH),
    'missing keys': (_drop, EVERYWHERE),
    'renamed key': (_rename, EVERYWHERE),
    'extra key': (_extra, EVERYWHERE),
    'swapped tensors': (_swap, EVERYWHERE),
    'prefix': (_prefix, EVERYWHERE),
    'keys of other types': (_scalar_key, TORCH),
    'integer keys': (_flax_key, ('flax msgpack',)),
    'nested dicts': (_nest, TORCH),
    'other objects': (_object, TORCH),
    'strings': (_replace(lambda draw, x: np.array(['a', 'bc'])), ARRAYS),
    'dates': (_replace(lambda draw, x: np.array(['2020-01-01'], 'datetime64[D]')), ARRAYS),
    'structured array': (_replace(lambda draw, x: np.zeros(3, 'i4,f4')), ('.npz',)),
    'big-endian': (_replace(_array('>f4')), ('.npz',)),
    'long doubles': (_replace(_array(np.longdouble)), ARRAYS),
    'hostile pickle': (_payload, TORCH),
    'hostile array': (_pickled_array, ('.npz',)),
    'extension types': (_extension, ('flax msgpack',)),
    'chunks': (_chunks, ('flax msgpack',)),
    'empty': (lambda draw, state, folder: state.clear(), (*TORCH, *ARRAYS)),
}


def _flip(draw: Draw, content: bytearray) -> None:
    for _ in range(draw.choice([1, 1, 2, 8])):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def _flip_header(draw: Draw, content: bytearray) -> None:
    for _ in range(draw.choice([1, 2, 4])):
        content[draw.randrange(min(512, len(content)))] ^= 1 << draw.randrange(8)


def _flip_end(draw: Draw, content: bytearray) -> None:
    for _ in range(draw.choice([1, 2, 4])):
        content[-1 - draw.randrange(min(512, len(content)))] ^= 1 << draw.randrange(8)


def _cut(draw: Draw, content: bytearray) -> None:
    del content[draw.choice([0, 1, 7, 8, 64, draw.randrange(len(content)), len(content) - 1]) :]


def _zeros(draw: Draw, content: bytearray) -> None:
    start, size = draw.randrange(len(content)), draw.choice([1, 8, 512, 4096])
    content[start : start + size] = bytes(len(content[start : start + size]))


def _insert(draw: Draw, content: bytearray) -> None:
    place = draw.randrange(len(content))
    content[place:place] = draw.randbytes(draw.choice([1, 4, 64]))


def _remove(draw: Draw, content: bytearray) -> None:
    place = draw.randrange(len(content))
    del content[place : place + draw.choice([1, 4, 64])]


def _append(draw: Draw, content: bytearray) -> None:
    content += draw.choice([b'\0', b'PK\x05\x06' + bytes(18), draw.randbytes(100), bytes(content)])


def _digits(draw: Draw, content: bytearray) -> None:
    """Change numbers in text, such as shapes and offsets in headers."""
    places = [i for i in range(min(len(content), 20000)) if chr(content[i]).isdigit()]
    for place in draw.sample(places, min(len(places), 2)):
        content[place] = ord(draw.choice('0123456789-'))


BYTE_MUTATIONS: Mapping[str, Callable[[Draw, bytearray], None]] = {
    'bytes: flipped bits': _flip,
    'bytes: flipped bits at the start': _flip_header,
    'bytes: flipped bits at the end': _flip_end,
    'bytes: cut': _cut,
    'bytes: zeros': _zeros,
    'bytes: inserted': _insert,
    'bytes: removed': _remove,
    'bytes: appended': _append,
    'bytes: other digits': _digits,
}


def mutate_bytes(draw: Draw, path: Path, mutation: str) -> None:
    content = bytearray(path.read_bytes())
    BYTE_MUTATIONS[mutation](draw, content)
    path.write_bytes(content)
