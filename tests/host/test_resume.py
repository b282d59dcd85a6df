"""``--resume`` runs no text of a checkpoint and takes the newest sound one."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

from vidtx_mm.repairs import mmengine_resume
from vidtx_mm.repairs.mmengine_resume import fault, newest_sound_checkpoint

pytestmark = pytest.mark.usefixtures('own_scope')


class Model(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, inputs: Tensor, mode: str) -> dict[str, Tensor]:
        return dict(loss=self.fc(inputs).mean())


def runner(work_dir: Path, epochs: int = 3, **settings: Any) -> Runner:
    data = dict(
        dataset=[dict(inputs=torch.ones(2))] * 2,
        sampler=dict(type='DefaultSampler'),
        collate_fn=dict(type='default_collate'),
        batch_size=1,
    )
    return Runner(
        Model(),
        str(work_dir),
        train_dataloader=data,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        experiment_name=str(work_dir) + str(settings.get('resume')),
        **settings,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work dir of a run of three epochs."""
    folder = tmp_path_factory.mktemp('trained')
    runner(folder).train()
    return folder


@pytest.fixture
def work_dir(trained: Path, tmp_path: Path) -> Path:
    """A copy of the work dir, as if the run had taken place here."""
    folder = tmp_path / 'work'
    shutil.copytree(trained, folder)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_3.pth'))
    return folder


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is logged about the choice of a checkpoint."""
    messages: list[str] = []
    monkeypatch.setattr(mmengine_resume, '_log', lambda message, level=0: messages.append(message))
    return messages


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-300])


def flip(path: Path) -> None:
    """Change one byte of a tensor, which torch.load does not notice."""
    value = next(iter(torch.load(path)['state_dict'].values()))
    content = bytearray(path.read_bytes())
    content[content.index(value.numpy().tobytes())] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize('route', ['file', 'auto', 'load_from', 'last_checkpoint'])
def test_text_in_a_checkpoint_is_never_executed(route: str, work_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The four ways to resume: --resume FILE, --resume, resume=True with load_from, resume=True alone."""
    path = work_dir / 'epoch_3.pth'
    checkpoint = torch.load(path)
    checkpoint['meta']['config'] = f'open({str(work_dir / "ran")!r}, "w")'
    torch.save(checkpoint, path)
    named = route in ('file', 'load_from')
    settings: dict[str, Any] = dict(resume=True, load_from=str(path) if named else None)
    if route in ('load_from', 'last_checkpoint'):  # of a config; the others are what tools/train.py makes of --resume
        run = runner(work_dir, 4, cfg=settings, **settings)
    else:
        run = runner(work_dir, 4, **settings)
    run.train()
    assert run.epoch == 4 and (work_dir / 'epoch_4.pth').exists()
    assert not (work_dir / 'ran').exists()


@pytest.mark.parametrize('damage', [cut, flip, lambda path: path.write_bytes(b''), lambda path: path.write_text('no')])
def test_damaged_newest_checkpoint_is_passed_over(damage: Any, work_dir: Path, told: list[str]) -> None:
    damage(work_dir / 'epoch_3.pth')
    assert newest_sound_checkpoint(str(work_dir)) == str(work_dir / 'epoch_2.pth')
    assert told[0].startswith(f'Not resumed from: {work_dir}/epoch_3.pth is ')
    assert told[1] == f'Resuming from {work_dir}/epoch_2.pth'


def test_weights_alone_are_no_run(work_dir: Path) -> None:
    path = work_dir / 'epoch_3.pth'
    torch.save(dict(state_dict=torch.load(path)['state_dict']), path)
    assert "no meta, message_hub, meta['epoch'], meta['iter']" in str(fault(path))
    assert newest_sound_checkpoint(str(work_dir)) == str(work_dir / 'epoch_2.pth')


@pytest.mark.parametrize('content', [None, '', '/nowhere/epoch_3.pth', '/nowhere/epoch_9.pth'])
def test_last_checkpoint_absent_empty_or_of_another_place(content: str | None, work_dir: Path) -> None:
    if content is None:
        (work_dir / 'last_checkpoint').unlink()
    else:
        (work_dir / 'last_checkpoint').write_text(content)
    run = runner(work_dir, resume=True)
    run.train()
    assert run.epoch == 3 and run._has_loaded


def test_checkpoint_written_after_the_last_note_counts(work_dir: Path) -> None:
    """A kill between the two writes; what an older run left behind does not count."""
    (work_dir / 'last_checkpoint').write_text(str(work_dir / 'epoch_2.pth'))
    assert newest_sound_checkpoint(str(work_dir)) == str(work_dir / 'epoch_3.pth')
    os.utime(work_dir / 'epoch_3.pth', (1, 1))
    assert newest_sound_checkpoint(str(work_dir)) == str(work_dir / 'epoch_2.pth')


def test_out_dir_elsewhere(work_dir: Path, tmp_path: Path) -> None:
    shutil.move(work_dir / 'epoch_2.pth', tmp_path / 'iter_40.pth')
    for path in work_dir.glob('*.pth'):
        path.unlink()
    (work_dir / 'last_checkpoint').write_text(str(tmp_path / 'iter_50.pth'))
    assert newest_sound_checkpoint(str(work_dir)) == str(tmp_path / 'iter_40.pth')


def test_nothing_sound_is_an_error_not_a_new_start(work_dir: Path) -> None:
    for path in work_dir.glob('*.pth'):
        cut(path)
    with pytest.raises(RuntimeError, match='epoch_3.pth is cut short.*epoch_1.pth.*start anew without --resume'):
        runner(work_dir, resume=True).train()
    for path in work_dir.glob('*.pth'):
        path.unlink()
    with pytest.raises(RuntimeError, match='epoch_3.pth does not exist'):
        runner(work_dir, resume=True).train()
    (work_dir / 'last_checkpoint').write_text('')
    with pytest.raises(RuntimeError, match='last_checkpoint is there, but no checkpoint'):
        newest_sound_checkpoint(str(work_dir))


def test_new_work_dir_starts_and_says_so(tmp_path: Path, told: list[str]) -> None:
    assert newest_sound_checkpoint(str(tmp_path)) is None
    assert told == [f'Nothing to resume from in {tmp_path}: training starts at epoch 0']


def test_named_file_must_be_sound(work_dir: Path) -> None:
    cut(work_dir / 'epoch_3.pth')
    run = runner(work_dir, resume=True, load_from=str(work_dir / 'epoch_3.pth'))
    with pytest.raises(RuntimeError, match=r'epoch_3.pth is cut short.*newest sound checkpoint beside it is .*epoch_2'):
        run.train()
    with pytest.raises(RuntimeError, match='epoch_7.pth does not exist'):
        runner(work_dir, resume=True, load_from=str(work_dir / 'epoch_7.pth')).train()
