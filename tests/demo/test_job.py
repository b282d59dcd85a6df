"""The steps of the demo with a fake ``mim``, its config and its command."""

import json
import runpy
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch
from mmengine.config import Config

from vidtx_mm.apis.report import Report
from vidtx_mm.demo import job
from vidtx_mm.demo.shapes import CLASSES, ShapesSpec
from vidtx_mm.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'configs' / 'demo' / 'swin3d_shapes.py'
SPEC = ShapesSpec(train=16, val=8, test=16)


# -- the config ----------------------------------------------------------------------------------------------------


def test_config_fits_the_clips() -> None:
    cfg, spec = Config.fromfile(CONFIG), ShapesSpec()
    assert cfg.num_classes == len(CLASSES)
    assert cfg.train_dataloader.dataset.ann_file == 'data/shapes/train.txt'
    assert cfg.test_dataloader.dataset.ann_file != cfg.val_dataloader.dataset.ann_file
    for pipeline in (cfg.train_pipeline, cfg.val_pipeline):
        assert [step.clip_len for step in pipeline if step.type == 'SampleFrames'] == [spec.frames]
    backbone = MODELS.build(cfg.model.backbone)
    clip = torch.zeros(1, 3, spec.frames, spec.size, spec.size)
    assert backbone(clip).shape == (1, cfg.model.cls_head.in_channels, 4, 4, 4)


def test_mirrored_classes_are_those_of_their_names() -> None:
    flips = {
        step.direction: step.flip_label_map for step in Config.fromfile(CONFIG).train_pipeline if step.type == 'Flip'
    }
    turned = {'clockwise': 'counterclockwise', 'counterclockwise': 'clockwise'}
    expected = dict(
        horizontal={'left': 'right', 'right': 'left', **turned}, vertical={'up': 'down', 'down': 'up', **turned}
    )
    named = {way: {CLASSES[a]: CLASSES[b] for a, b in labels.items()} for way, labels in flips.items()}
    assert named == expected


# -- the demo, on a fake mim -----------------------------------------------------------------------------------------


class Mim:
    """Write the files of training and testing, and record the commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def __call__(self, command: Sequence[str], log: Path, say: Callable[[str], None]) -> None:
        words = list(map(str, command))
        assert words[:3] == [sys.executable, '-m', 'mim']
        self.commands.append(words[3])
        folder = Path(words[words.index('--work-dir') + 1])
        {'train': self.train, 'test': self.test}[words[3]](words, folder)

    def train(self, words: list[str], folder: Path) -> None:
        records = folder / f'2026_{len(self.commands):02d}' / 'vis_data'
        records.mkdir(parents=True)
        rows = [{'loss': 1.0, 'top1_acc': 0.5, 'iter': 1, 'step': 1, 'epoch': 1}, {'acc/top1': 0.5, 'step': 1}]
        (records / 'scalars.json').write_text('\n'.join(map(json.dumps, rows)))
        cfg = Config.fromfile(words[words.index('mmaction') + 1])
        options = words[words.index('--cfg-options') + 1 :] if '--cfg-options' in words else []
        cfg.merge_from_dict(dict(option.split('=', 1) for option in options))
        cfg.dump(folder / 'config.py')
        (folder / f'best_acc_top1_epoch_{len(self.commands)}.pth').touch()

    def test(self, words: list[str], folder: Path) -> None:
        assert Path(words[words.index('--checkpoint') + 1]).is_file()
        labels = np.arange(SPEC.test) % len(CLASSES)
        scores = torch.eye(len(CLASSES))[labels]
        samples = [dict(gt_label=torch.tensor([y]), pred_score=s) for y, s in zip(labels, scores, strict=True)]
        mmengine.dump(samples, words[words.index('--dump') + 1])


@pytest.fixture
def mim(monkeypatch: pytest.MonkeyPatch) -> Mim:
    fake = Mim()
    monkeypatch.setattr(job, 'run_logged', fake)
    return fake


def test_second_run_reuses_results_until_the_config_changes(mim: Mim, tmp_path: Path) -> None:
    config = tmp_path / 'config.py'
    config.write_text(CONFIG.read_text())
    said: list[str] = []
    demo = job.Demo(config, tmp_path / 'data', tmp_path / 'work', SPEC, said.append)

    assert job.summary(demo.run()) == 'demo: top-1 1.00 on 16 held-out clips'
    assert mim.commands == ['train', 'test']
    assert not [line for line in said if 'reused' in line]
    files = ('report.html', 'confusion.png', 'curves.png', 'predictions.png')
    assert all((tmp_path / 'work' / name).is_file() for name in files)

    said.clear()
    demo.run()
    assert mim.commands == ['train', 'test', 'test']
    assert len([line for line in said if 'reused' in line]) == 2

    config.write_text(CONFIG.read_text().replace('lr = 1e-3', 'lr = 2e-3'))
    demo.run()
    assert mim.commands[3:] == ['train', 'test']
    assert [path.name for path in job.best_checkpoints(tmp_path / 'work' / 'train')] == ['best_acc_top1_epoch_4.pth']


def test_an_interrupted_training_does_not_count(mim: Mim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = job.Demo(CONFIG, tmp_path / 'data', tmp_path / 'work', SPEC, lambda line: None)
    demo.run()
    (tmp_path / 'work' / 'train' / 'trained.json').unlink()

    def interrupted(*args: object) -> None:
        (tmp_path / 'work' / 'train' / 'best_acc_top1_epoch_9.pth').touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(job, 'run_logged', interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.run()
    monkeypatch.setattr(job, 'run_logged', mim)
    demo.run()
    assert mim.commands == ['train', 'test', 'train', 'test']


def test_options_point_the_config_to_the_clips(tmp_path: Path) -> None:
    cfg = Config.fromfile(CONFIG)
    assert job.data_options(cfg, Path('data/shapes')) == []
    options = dict(option.split('=') for option in job.data_options(cfg, tmp_path)[1:])
    cfg.merge_from_dict(options)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert Path(loader.dataset.ann_file).parent == Path(loader.dataset.data_prefix.video) == tmp_path


@pytest.mark.parametrize(('right', 'total', 'number'), [(256, 256, '1.00'), (255, 256, '0.99'), (12, 256, '0.04')])
def test_last_line(right: int, total: int, number: str) -> None:
    report = Report(Path('report.html'), right, right / total, 1.0, 1.0, 0.0, total)
    assert job.summary(report) == f'demo: top-1 {number} on {total} held-out clips'


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int | str | None:
    """Return the exit code of ``python tools/demo.py ...``."""
    monkeypatch.setattr(sys, 'argv', ['demo.py', *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / 'tools' / 'demo.py'), run_name='__main__')
    return caught.value.code


def test_the_command_ends_with_the_accuracy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], mim: Mim
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, 'Demo', partial(job.Demo, spec=SPEC))
    assert command(monkeypatch) == 0
    assert capsys.readouterr().out.splitlines()[-1] == 'demo: top-1 1.00 on 16 held-out clips'
    assert (tmp_path / 'work_dirs' / 'demo' / 'confusion.png').is_file()


def test_the_command_names_a_config_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, '--config', 'nowhere.py') == 2
    assert '--config nowhere.py: no such file' in capsys.readouterr().err


def test_the_command_says_why_it_failed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'data').write_text('a file where a folder should be')
    monkeypatch.chdir(tmp_path)
    assert command(monkeypatch) == 1
    streams = capsys.readouterr()
    assert 'demo failed: ' in streams.err and 'data' in streams.err
    assert 'top-1' not in streams.out
