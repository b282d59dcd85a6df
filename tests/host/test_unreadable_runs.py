"""Runs of the real ``mim`` on data with broken videos: they end, and say what they left out."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from string import Template
from subprocess import CompletedProcess

import numpy as np
import pytest
from videos import DAMAGE, write_audio

from vidtx_mm.demo.shapes import ShapesSpec, make_clip, write_mp4

DEMO = Path(__file__).resolve().parents[2] / 'configs/demo/swin3d_shapes.py'
CONFIG = Template("""
_base_ = '$demo'
loader = dict(batch_size=8, num_workers=1)
train_dataloader = dict(loader, dataset=dict(ann_file='$folder/train.txt', data_prefix=dict(video='$folder')))
val_dataloader = dict(loader, dataset=dict(ann_file='$folder/clean.txt', data_prefix=dict(video='$folder')))
test_dataloader = dict(loader, dataset=dict(ann_file='$folder/$test.txt', data_prefix=dict(video='$folder')))
train_cfg = dict(max_epochs=1)
test_evaluator = dict(metric_options=dict(top_k_accuracy=dict(topk=(1, 5))))
""")
GLOO = ['--cfg-options', 'env_cfg.dist_cfg.backend=gloo']


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of the demo; 2 of 40 to train and 7 of 15 to test are broken, of every kind."""
    root = tmp_path_factory.mktemp('broken')
    rng, spec = np.random.default_rng(0), ShapesSpec(frames=8, size=32)
    names = [f'train {index}.mp4' for index in range(38)] + [f'test {index}.mp4' for index in range(8)]
    for index, name in enumerate(names):
        write_mp4(make_clip(index % 8, spec, rng), root / name, spec.fps)
    sound = (root / 'test 0.mp4').read_bytes()
    for name, damage in DAMAGE.items():
        (root / f'{name}.mp4').write_bytes(damage(sound))
    write_audio(root / 'audio.mp4')
    os.mkfifo(root / 'fifo.mp4')
    (root / 'folder.mp4').mkdir()
    broken = [f'{name}.mp4' for name in (*DAMAGE, 'audio', 'fifo', 'folder')]
    for name, files in (
        ('train', [*names[:38], *broken[:2]]),
        ('clean', names[38:]),
        ('test', [*names[38:], *broken]),
    ):
        (root / f'{name}.txt').write_text(''.join(f'{file} {index % 8}\n' for index, file in enumerate(files)))
    for test in ('clean', 'test'):
        (root / f'{test}.py').write_text(CONFIG.substitute(demo=DEMO, folder=root, test=test))
    return root


def without_decord(folder: Path) -> dict[str, str]:
    """The environment of a process in which decord cannot be imported."""
    (folder / 'blocked').mkdir(exist_ok=True)
    (folder / 'blocked/decord.py').write_text("raise ImportError('decord is blocked')\n")
    return {'PYTHONPATH': str(folder / 'blocked')}


def bad_videos(work_dir: Path) -> list[str]:
    return sorted(Path(line.split('\t')[0]).stem for line in (work_dir / 'bad_videos.txt').read_text().splitlines())


@pytest.fixture(scope='module')
def trained(folder: Path, run_mim: Callable[..., str]) -> Path:
    """The checkpoint of one epoch of two processes."""
    output = run_mim(['train', 'mmaction', 'test.py', '-G', 2, '--launcher', 'pytorch', *GLOO], folder)
    assert '2 of 40 training videos could not be read and were left out: see bad_videos.txt' in output
    assert bad_videos(folder / 'work_dirs/test') == ['no moov', 'truncated']
    return folder / 'work_dirs/test/epoch_1.pth'


def top5(output: str) -> float:
    found = re.search(r'Epoch\(test\).*acc/top5: ([\d.]+)', output)
    assert found is not None, output[-2000:]
    return float(found[1])


@pytest.fixture(scope='module')
def clean(trained: Path, folder: Path, run_mim: Callable[..., str]) -> float:
    """The accuracy on the sound videos alone."""
    return top5(run_mim(['test', 'mmaction', 'clean.py', '--checkpoint', trained], folder))


@pytest.mark.parametrize('processes', [1, 2])
def test_broken_videos_count_as_wrong_and_are_named(
    processes: int, trained: Path, clean: float, folder: Path, run_python: Callable[..., CompletedProcess[str]]
) -> None:
    """Nothing of it needs decord, whose import fails here."""
    work_dir = folder / f'tested by {processes}'
    options = ['--checkpoint', trained, '--work-dir', work_dir]
    launch = ['-G', 2, '--launcher', 'pytorch', *GLOO] if processes == 2 else []
    done = run_python(['-m', 'mim', 'test', 'mmaction', 'test.py', *options, *launch], folder, without_decord(folder))
    assert done.returncode == 0, done.stdout[-3000:]
    output = done.stdout
    assert '7 of 15 videos could not be read, counted as wrong: see bad_videos.txt' in output
    assert bad_videos(work_dir) == sorted([*DAMAGE, 'audio', 'fifo', 'folder'])
    assert clean > 0
    assert top5(output) == pytest.approx(clean * 8 / 15, abs=1e-3)
