"""A checkpoint that cannot be written costs no other one."""

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from mmengine.fileio import LocalBackend, register_backend
from torch import nn

from vidtx_mm.hooks import SafeCheckpointHook
from vidtx_mm.hooks.checkpoint import AtomicBackend, CheckpointWriteError
from vidtx_mm.repairs.mmengine_resume import fault

KEEP_ONE = dict(max_keep_ckpts=1)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The system refuses to make a file larger, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def large_model() -> nn.Module:
    model = toy.Toy()
    model.ballast = nn.Parameter(torch.zeros(300_000), requires_grad=False)
    return model


def checkpoints(work_dir: Path) -> list[str]:
    return sorted(path.name for path in work_dir.iterdir() if path.is_file() and 'pth' in path.name)


def fail_from(monkeypatch: pytest.MonkeyPatch, write: int, code: int, until: int = 99) -> None:
    """Let the system refuse some of the writes."""
    count = iter(range(1, 99))

    def fsync(descriptor: int) -> None:
        if write <= next(count) < until:
            raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, 'fsync', fsync)
    monkeypatch.setattr(os, 'open', lambda *args: (_ for _ in ()).throw(OSError()))  # no fsync of folders here


def test_names_and_content_are_those_of_the_host(tmp_path: Path) -> None:
    toy.runner(tmp_path / 'ours', checkpoint=dict(max_keep_ckpts=2, save_best='acc')).train()
    settings = dict(type='CheckpointHook', max_keep_ckpts=2, save_best='acc')
    toy.runner(tmp_path / 'host', checkpoint=settings).train()
    assert checkpoints(tmp_path / 'ours') == checkpoints(tmp_path / 'host')
    ours, host = (torch.load(tmp_path / name / 'epoch_3.pth') for name in ('ours', 'host'))
    assert ours.keys() == host.keys()
    assert ours['message_hub'].keys() == host['message_hub'].keys()
    assert ours['message_hub']['runtime_info'].keys() == host['message_hub']['runtime_info'].keys()


def test_file_too_large(tmp_path: Path) -> None:
    """The run ends and says why; the checkpoint of before, the last one, is kept though max_keep_ckpts is 1."""
    toy.runner(tmp_path, epochs=1, model=large_model(), checkpoint=KEEP_ONE).train()
    run = toy.runner(tmp_path, model=large_model(), checkpoint=KEEP_ONE, resume=True)
    with files_of_at_most(200_000), pytest.raises(CheckpointWriteError) as error:
        run.train()
    message = str(error.value)
    assert 'epoch_2.pth was not written (File too large): it needs 1.' in message
    assert 'MB free' in message and '--resume' in message
    assert checkpoints(tmp_path) == ['epoch_1.pth']
    assert fault(tmp_path / 'epoch_1.pth') is None
    assert (tmp_path / 'last_checkpoint').read_text().endswith('epoch_1.pth')
    again = toy.runner(tmp_path, model=large_model(), checkpoint=KEEP_ONE, resume=True)
    again.train()
    assert checkpoints(tmp_path) == ['epoch_3.pth']


@pytest.mark.parametrize('code', [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_on_error_continue(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of three checkpoints fails: the first is kept until the third is there."""
    fail_from(monkeypatch, write=3, code=code, until=4)
    run = toy.runner(tmp_path, checkpoint=dict(KEEP_ONE, on_error='continue'))
    run.train()
    assert f'epoch_2.pth was not written ({os.strerror(code)})' in toy.log(run)
    assert checkpoints(tmp_path) == ['epoch_3.pth']
    assert run.message_hub.get_info('keep_ckpt_ids') == [3]


def test_best_checkpoint_outlives_a_failed_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.Mean, 'compute_metrics', lambda self, results: dict(acc=float(next(scores))))
    scores = iter([1, 2])
    fail_from(monkeypatch, write=8, code=errno.ENOSPC)  # 1-2: epoch 1, 3: its best, 4-5: epoch 1 again, 6-7: epoch 2
    run = toy.runner(tmp_path, epochs=2, checkpoint=dict(save_best='acc', rule='greater', on_error='continue'))
    run.train()
    assert checkpoints(tmp_path) == ['best_acc_epoch_1.pth', 'epoch_1.pth', 'epoch_2.pth']
    assert run.message_hub.get_info('best_score') == 1
    assert run.message_hub.get_info('best_ckpt').endswith('best_acc_epoch_1.pth')


def test_folder_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / 'file').touch()
    run = toy.runner(tmp_path / 'work', checkpoint=dict(out_dir=str(tmp_path / 'file')))
    with pytest.raises(CheckpointWriteError, match=r'epoch_1.pth was not written \(Not a directory\)'):
        run.train()


def test_write_replaces_whole_files_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, path = AtomicBackend(), tmp_path / 'folder/file'
    backend.put(b'old', path)
    assert path.read_bytes() == b'old'
    seen = []
    monkeypatch.setattr(os, 'fsync', lambda descriptor: seen.append(path.read_bytes()))
    backend.put(b'new', path)
    assert seen[0] == b'old' and path.read_bytes() == b'new'
    assert [file.name for file in path.parent.iterdir()] == ['file']


@register_backend('vidtx_mm.test')
class Elsewhere(LocalBackend):
    """Another store, which lies in memory as far as the hook can tell."""

    put_files: list[str] = []

    def put(self, obj: bytes, filepath: Any) -> None:
        self.put_files.append(Path(filepath).name)
        super().put(obj, filepath)


def test_other_backends_write_their_own_way(tmp_path: Path) -> None:
    Elsewhere.put_files = []
    settings = dict(KEEP_ONE, backend_args=dict(backend='vidtx_mm.test'))
    toy.runner(tmp_path, checkpoint=settings).train()
    assert Elsewhere.put_files == ['epoch_1.pth', 'epoch_2.pth', 'epoch_3.pth']
    assert checkpoints(tmp_path) == ['epoch_3.pth']


def test_unknown_on_error() -> None:
    with pytest.raises(ValueError, match="on_error='ignore': choose one of 'stop', 'continue'"):
        SafeCheckpointHook(on_error='ignore')
