"""Mistakes of users of mmdet, mmpose, mmseg and mmpretrain, each with a message that names the remedy."""

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from reduced import CONFIG_DIR, MASK_RCNN, knobs, reduce

from vidtx_mm.repairs.mmcv import OPERATORS

RunPython = Callable[..., subprocess.CompletedProcess[str]]
CONFIG = CONFIG_DIR / 'detection/mask_rcnn_uniformer_s_fpn_1x_coco.py'
DOCTOR = CONFIG_DIR.parent / 'tools/doctor.py'


def site_with(folder: Path, leave_out: tuple[str, ...] = (), without_operators: bool = False) -> dict[str, str]:
    """Link this installation into a folder, without some distributions or mmcv's library; return the variables."""
    for entry in Path(sysconfig.get_path('purelib')).iterdir():
        if entry.name.startswith(leave_out or ('?',)) or entry.suffix == '.pth':
            continue
        if entry.name == 'mmcv' and without_operators:
            shutil.copytree(entry, folder / 'mmcv', ignore=shutil.ignore_patterns('_ext*', '__pycache__'))
        else:
            (folder / entry.name).symlink_to(entry)
    (folder / 'vidtx_mm').symlink_to(CONFIG_DIR.parent / 'vidtx_mm')
    return {'PYTHONPATH': str(folder)}


def distribution(folder: Path, name: str, version: str) -> None:
    """Write the metadata of a distribution, without its package."""
    (folder / f'{name.replace("-", "_")}-{version}.dist-info').mkdir()
    text = f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n'
    (folder / f'{name.replace("-", "_")}-{version}.dist-info/METADATA').write_text(text)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / 'site').mkdir()
    return tmp_path / 'site'


def doctor(run_python: RunPython, folder: Path, env: dict[str, str]) -> str:
    done = run_python(['-S', DOCTOR], folder, env)
    assert 'Capabilities' in done.stdout, done.stdout
    return ' '.join(done.stdout.split())


def test_doctor_says_yes_here(run_python: RunPython, tmp_path: Path) -> None:
    done = run_python([DOCTOR], tmp_path)
    for name in ('detection', 'pose', 'segmentation', 'image classification'):
        assert [*name.split(), 'yes'] in [line.split() for line in done.stdout.splitlines()], done.stdout


def test_packages_absent(run_python: RunPython, site: Path, tmp_path: Path) -> None:
    report = doctor(run_python, tmp_path, site_with(site, leave_out=('mmdet', 'mmpose', 'mmpretrain')))
    assert 'mmpretrain is not installed pip install "mmpretrain>=1.2,<2"' in report
    assert 'mmdet is not installed pip install "mmdet>=3.3,<4"' in report
    assert 'mmpose is not installed pip install --no-deps mmpose==1.3.2' in report


def test_packages_too_old(run_python: RunPython, site: Path, tmp_path: Path) -> None:
    env = site_with(site, leave_out=('mmdet-', 'mmpose-', 'mmpretrain-'))
    distribution(site, 'mmpretrain', '1.0.2')
    distribution(site, 'mmdet', '2.28.2')
    distribution(site, 'mmpose', '0.29.0')
    report = doctor(run_python, tmp_path, env)
    assert 'mmpretrain 1.0.2 is too old: 1.2 or newer is needed pip install "mmpretrain>=1.2,<2"' in report
    assert 'mmdet 2.28.2 is too old: 3.3 or newer is needed pip install "mmdet>=3.3,<4"' in report
    assert 'mmpose 0.29.0 is too old: 1.3.2 or newer is needed pip install --no-deps mmpose==1.3.2' in report


def test_mmcv_and_mmcv_lite_both(run_python: RunPython, site: Path, tmp_path: Path) -> None:
    env = site_with(site)
    distribution(site, 'mmcv-lite', '2.1.0')
    report = doctor(run_python, tmp_path, env)
    assert f'mmcv and mmcv-lite are both installed and overwrite each other {" ".join(OPERATORS.split())}' in report


def test_mmcv_without_operators(run_python: RunPython, site: Path, figures: Path, tmp_path: Path) -> None:
    """Training and the doctor end with the command."""
    env = site_with(site, without_operators=True)
    reduce(CONFIG, knobs(figures, 'instances'), MASK_RCNN, tmp_path)
    tool = Path(sysconfig.get_path('purelib')) / 'mmdet/.mim/tools/train.py'
    done = run_python(['-S', tool, CONFIG.name], tmp_path, env)
    assert done.returncode
    assert f"No module named 'mmcv._ext'. Remedy: {OPERATORS}" in done.stdout, done.stdout[-2000:]
    assert ' '.join(OPERATORS.split()) in doctor(run_python, tmp_path, env)


def test_mmseg_without_operators_or_ftfy(run_python: RunPython, site: Path, tmp_path: Path) -> None:
    """The imports end in the commands, and so does doctor."""
    env = site_with(site, leave_out=('ftfy', 'mmsegmentation-'), without_operators=True)
    distribution(site, 'mmsegmentation', '0.30.0')
    code = """
import sys, types, vidtx_mm
for module in ('mmseg.utils', 'mmseg.models'):
    try:
        __import__(module)
    except ImportError as error:
        print(error)
    sys.modules['ftfy'] = types.ModuleType('ftfy')  # as if it were installed by now
"""
    done = run_python(['-S', '-c', code], tmp_path, env)
    assert "No module named 'ftfy'. Remedy: pip install ftfy regex" in done.stdout, done.stdout[-2000:]
    assert f"No module named 'mmcv._ext'. Remedy: {OPERATORS}" in done.stdout, done.stdout[-2000:]
    said = doctor(run_python, tmp_path, env)
    assert 'mmsegmentation 0.30.0 is too old: 1.2.2 or newer is needed pip install "mmsegmentation>=1.2.2,<2"' in said
    assert 'ftfy is not installed pip install "ftfy>=6,<7"' in said


def test_small_images_in_a_run(run_python: RunPython, figures: Path, tmp_path: Path) -> None:
    """A crop of 31 pixels for a pose model, which does not pad images."""
    code = """
import torch, vidtx_mm
from mmengine.registry import MODELS
backbone = MODELS.build(dict(type='vidtx_mm.ImageUniFormer'))
backbone(torch.zeros(1, 3, 31, 64))
"""
    done = run_python(['-c', code], tmp_path)
    assert 'the input is 31 x 64 (H x W), but the last stage needs at least 32 x 32: give a larger input' in done.stdout


def test_video_checkpoint_in_mim_test(run_python: RunPython, figures: Path, tmp_path: Path) -> None:
    """The hook rejects the checkpoint of a video model."""
    from vidtx_mm.backbones import VideoUniFormer

    reduce(CONFIG, knobs(figures, 'instances'), MASK_RCNN, tmp_path)
    arch = dict(depths=(1, 1, 1, 1), embed_dims=(16, 32, 48, 64), head_dim=16, mlp_ratio=2.0)
    torch.save({'model_state': VideoUniFormer(arch).state_dict()}, tmp_path / 'video.pyth')
    done = run_python(['-m', 'mim', 'test', 'mmdet', CONFIG.name, '--checkpoint', 'video.pyth'], tmp_path)
    assert done.returncode
    assert 'video.pyth into ImageUniFormer: this is a 3-D (video) checkpoint' in done.stdout, done.stdout[-2000:]
    assert 'the model is 2-D (images): load an image checkpoint' in done.stdout


def test_base_of_a_package_that_is_absent(run_python: RunPython, site: Path, tmp_path: Path) -> None:
    """mim checks the package before vidtx_mm is imported."""
    env = site_with(site, leave_out=('mmdet',))
    done = subprocess.run(
        [sys.executable, '-S', '-m', 'mim', 'train', 'mmdet', str(CONFIG)],
        cwd=tmp_path,
        env=env | {'PATH': '/usr/bin:/bin'},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode
    assert 'mmdet is not installed' in done.stdout + done.stderr
