"""Opening files: every format and container, and every kind of bad file."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from safetensors.torch import save_file

from vidtx_mm.weights import CheckpointError, open_checkpoint

WEIGHTS = {'a.weight': torch.arange(6.0).reshape(2, 3), 'a.bias': torch.ones(2)}


def same(opened):
    return opened.tensors.keys() == WEIGHTS.keys() and all(torch.equal(opened.tensors[k], WEIGHTS[k]) for k in WEIGHTS)


CONTAINERS = {
    'raw': WEIGHTS,
    'model': {'model': WEIGHTS},
    'state_dict': {'meta': {'epoch': 3}, 'state_dict': WEIGHTS, 'optimizer': {'state': {}}},
    'model_state': {'epoch': 1, 'model_state': WEIGHTS, 'optimizer_state': {}, 'cfg': 'TRAIN: 1'},
    'module': {'module': WEIGHTS},
}


@pytest.mark.parametrize('prefix', ['', 'module.', 'module._orig_mod.'])
@pytest.mark.parametrize('name, content', CONTAINERS.items(), ids=CONTAINERS)
def test_containers(name, content, prefix):
    weights = {prefix + key: value for key, value in WEIGHTS.items()}
    opened = open_checkpoint(weights if name == 'raw' else {**content, name: weights})
    assert same(opened)
    assert opened.container == name


def test_a_prefix_of_some_keys_is_kept():
    assert set(open_checkpoint({'module.a': torch.ones(1), 'b': torch.ones(1)}).tensors) == {'module.a', 'b'}


@pytest.mark.parametrize('suffix', ['.pth', '.pyth', '.pt', '.bin', ''])
@pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])
def test_pytorch_files(tmp_path, suffix, zipped):
    path = tmp_path / f'weights{suffix}'
    torch.save({'model': WEIGHTS}, path, _use_new_zipfile_serialization=zipped)
    opened = open_checkpoint(path)
    assert same(opened) and opened.container == 'model' and opened.name == str(path)


def test_safetensors_and_npz_files(tmp_path):
    save_file(WEIGHTS, tmp_path / 'a.safetensors')
    assert same(open_checkpoint(str(tmp_path / 'a.safetensors')))
    np.savez(tmp_path / 'a.npz', **{key: value.numpy() for key, value in WEIGHTS.items()})
    assert same(open_checkpoint(tmp_path / 'a.npz'))


def test_what_mmengine_writes_beside_weights_is_met_without_running_it(tmp_path):
    history = HistoryBuffer()
    history.update(1.5, 2)
    meta = dict(epoch=1, best=np.float64(0.5), cfg='text', labels=np.arange(3))
    hub = dict(log_scalars=dict(loss=history), runtime_info=dict(iter=3))
    torch.save(dict(meta=meta, state_dict=WEIGHTS, message_hub=hub), tmp_path / 'epoch_1.pth')
    allowed = set(torch.serialization.get_safe_globals())
    assert same(open_checkpoint(tmp_path / 'epoch_1.pth'))
    assert set(torch.serialization.get_safe_globals()) == allowed


class Hostile:
    """Creates a file when it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def plain_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


def legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize('write', [torch.save, legacy, plain_pickle])
def test_hostile_pickles_are_refused_and_not_run(tmp_path, write):
    path, target = tmp_path / 'evil.pth', tmp_path / 'created'
    write({'state_dict': WEIGHTS, 'meta': Hostile(target)}, path)
    with pytest.raises(CheckpointError, match=r'evil\.pth is not a plain checkpoint.*None of it was run.*torch\.save'):
        open_checkpoint(path)
    assert not target.exists()
    pickle.loads(pickle.dumps(Hostile(target)))  # the trap works
    assert target.exists()


def whole(kind, path):
    if kind == 'torch':
        torch.save(WEIGHTS, path)
    elif kind == 'legacy':
        legacy(WEIGHTS, path)
    elif kind == 'safetensors':
        save_file(WEIGHTS, path)
    else:
        np.savez(path, a=np.zeros(100))


@pytest.mark.parametrize(
    'kind, suffix', [('torch', '.pth'), ('legacy', '.pth'), ('safetensors', '.safetensors'), ('npz', '.npz')]
)
def test_truncated_files(tmp_path, kind, suffix):
    path = tmp_path / f'cut{suffix}'
    whole(kind, path)
    path.write_bytes(path.read_bytes()[: -path.stat().st_size // 3])
    with pytest.raises(CheckpointError, match=rf'cut\{suffix} is (cut short|a damaged).*download or copy it again'):
        open_checkpoint(path)


@pytest.mark.parametrize(
    'content, message',
    [
        (b'', 'is empty'),
        (b'<!DOCTYPE html><html>', 'is a web page.*dl=1'),
        (b'version https://git-lfs.github.com/spec/v1\noid', 'Git LFS pointer.*git lfs pull'),
        (b'\xff\xd8\xff\xe0' + bytes(100), 'is not a checkpoint: it starts with'),
        (b'PK\x03\x04' + bytes(100), 'cut short'),
        (b'weights.pth'.ljust(257, b'\0') + b'ustar' + bytes(250), 'is a tar archive: extract .* torch 0.1'),
    ],
    ids=['empty', 'html', 'lfs', 'jpeg', 'zip', 'tar'],
)
@pytest.mark.parametrize('name', ['weights.pth', 'weights'])
def test_files_that_are_no_checkpoints(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(tmp_path / name)


def test_zip_files_of_other_things(tmp_path):
    with zipfile.ZipFile(tmp_path / 'photos.pth', 'w') as file:
        file.writestr('a.jpg', b'1')
    with pytest.raises(CheckpointError, match=r'zip file of a\.jpg'):
        open_checkpoint(tmp_path / 'photos.pth')
    with zipfile.ZipFile(tmp_path / 'scripted.pth', 'w') as file:
        for name in ('net/data.pkl', 'net/code/__torch__.py', 'net/data/0'):
            file.writestr(name, b'1')
    with pytest.raises(CheckpointError, match='TorchScript'):
        open_checkpoint(tmp_path / 'scripted.pth')


@pytest.mark.parametrize('true, wrong', [('.npz', '.pth'), ('.pth', '.safetensors'), ('.safetensors', '.npz')])
def test_wrong_extensions(tmp_path, true, wrong):
    whole({'.pth': 'torch', '.safetensors': 'safetensors', '.npz': 'npz'}[true], tmp_path / f'a{true}')
    (tmp_path / f'a{true}').rename(tmp_path / f'a{wrong}')
    with pytest.raises(CheckpointError, match=rf'is named like a .*, but its content is .*: rename it to \*\{true}'):
        open_checkpoint(tmp_path / f'a{wrong}')


def test_missing_files_and_folders(tmp_path):
    torch.save(WEIGHTS, tmp_path / 'swin_tiny.pth')
    with pytest.raises(CheckpointError, match=r'swin_tin\.pth does not exist; beside it: swin_tiny\.pth'):
        open_checkpoint(tmp_path / 'swin_tin.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    'content, message',
    [
        ({'epoch': 3, 'arch': 'swin'}, 'no weights .* it holds epoch, arch'),
        ({}, 'it holds nothing'),
        ({'a': torch.ones(1), 'epoch': 3}, 'it holds epoch'),
    ],
)
def test_dicts_without_weights(content, message):
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(content)


def test_files_that_hold_no_dict(tmp_path):
    torch.save([torch.ones(1)], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list, not a state dict'):
        open_checkpoint(tmp_path / 'list.pth')


def test_class_names_that_mmengine_saved(tmp_path):
    meta = dict(dataset_meta=dict(classes=('clap', 'wave')))
    torch.save(dict(state_dict={'fc.weight': torch.ones(1)}, meta=meta), tmp_path / 'named.pth')
    assert open_checkpoint(tmp_path / 'named.pth').classes == ('clap', 'wave')
    for meta in ({}, None, dict(dataset_meta=None), dict(dataset_meta=dict(classes=None))):
        assert open_checkpoint(dict(state_dict={'fc.weight': torch.ones(1)}, meta=meta)).classes == ()
