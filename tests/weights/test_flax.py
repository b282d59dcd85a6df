"""Flax checkpoints. The writer below follows flax/serialization.py (msgpack extension types, chunks of big arrays)."""

import msgpack
import numpy as np
import pytest
import torch

from vidtx_mm.weights import CheckpointError, open_checkpoint

KERNEL = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
PARAMS = {'Transformer': {'encoder_norm': {'scale': np.ones(4, np.float32)}}, 'embedding': {'kernel': KERNEL}}
FLAT = {'Transformer/encoder_norm/scale': np.ones(4, np.float32), 'embedding/kernel': KERNEL}


def pack(node):
    if isinstance(node, dict):
        return {key: pack(value) for key, value in node.items()}
    if isinstance(node, np.ndarray | np.generic):
        array = np.asarray(node)
        code = 1 if isinstance(node, np.ndarray) else 3
        return msgpack.ExtType(code, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))
    return node


def chunked(array, size):
    flat = array.reshape(-1)
    pieces = [flat[start : start + size] for start in range(0, flat.size, size)]
    return {
        '__msgpack_chunked_array__': True,
        'shape': {str(i): n for i, n in enumerate(array.shape)},
        'chunks': {str(i): piece for i, piece in enumerate(pieces)},
    }


def write(path, tree):
    path.write_bytes(msgpack.packb(pack(tree), strict_types=True))
    return path


def read(tmp_path, tree, name='checkpoint'):
    opened = open_checkpoint(write(tmp_path / name, tree))
    return opened.container, {key: value.numpy() for key, value in opened.tensors.items()}


NESTS = {
    'raw': PARAMS,
    'params': {'params': PARAMS},
    'optimizer/target': {'optimizer': {'target': PARAMS, 'state': {'step': 3}}, 'global_step': 7, 'model_state': {}},
    'optimizer/target/params': {'optimizer': {'target': {'params': PARAMS}}, 'rng': np.zeros(2, np.uint32)},
    'opt/target': {'opt': {'target': PARAMS}},
}


@pytest.mark.parametrize('container, tree', NESTS.items(), ids=NESTS)
@pytest.mark.parametrize('name', ['checkpoint', 'weights.msgpack'])
def test_trees(tmp_path, container, tree, name):
    found, arrays = read(tmp_path, tree, name)
    assert found == container
    assert arrays.keys() == FLAT.keys()
    for key, expected in FLAT.items():
        np.testing.assert_array_equal(arrays[key], expected)


def test_the_optimizer_state_is_not_decoded(tmp_path):
    garbage = msgpack.ExtType(1, b'\xc1 not an array')
    state = {'optimizer': {'target': PARAMS, 'state': {'momentum': garbage}}}
    assert read(tmp_path, state)[1].keys() == FLAT.keys()


def test_chunked_arrays_are_joined(tmp_path):
    _, arrays = read(tmp_path, {'params': {'kernel': chunked(KERNEL, 7)}})
    np.testing.assert_array_equal(arrays['kernel'], KERNEL)


def test_bfloat16_arrays_and_numpy_scalars(tmp_path):
    wanted = torch.tensor([1.0, -2.5, 3e38], dtype=torch.bfloat16)
    bits = wanted.view(torch.int16).numpy().tobytes()
    tree = {'a': msgpack.ExtType(1, msgpack.packb(((3,), 'bfloat16', bits))), 'b': np.float32(2.5)}
    opened = open_checkpoint(write(tmp_path / 'checkpoint', tree))
    assert torch.equal(opened.tensors['a'], wanted)
    assert opened.tensors['b'] == torch.tensor(2.5)


def test_arrays_of_npz_files_lose_the_nest(tmp_path):
    arrays = {f'opt/target/{key}': value for key, value in FLAT.items()}
    np.savez(tmp_path / 'a.npz', **arrays, **{'opt/state/step': np.array(3)})
    opened = open_checkpoint(tmp_path / 'a.npz')
    assert opened.container == 'opt/target'
    assert opened.tensors.keys() == FLAT.keys()


@pytest.mark.parametrize('name', ['checkpoint', 'weights.msgpack'])
def test_truncated_files(tmp_path, name):
    path = write(tmp_path / name, {'optimizer': {'target': PARAMS}})
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(CheckpointError, match=f'{name} is a damaged flax msgpack file.*download or copy it again'):
        open_checkpoint(path)


def test_trees_with_other_things(tmp_path):
    with pytest.raises(CheckpointError, match='meta/epoch is of type int, not a tensor: remove it'):
        open_checkpoint(write(tmp_path / 'checkpoint', {'meta': {'epoch': 3}}))
    with pytest.raises(CheckpointError, match='extension type 9'):
        open_checkpoint(write(tmp_path / 'checkpoint', {'a': msgpack.ExtType(9, b'')}))
