"""Contents of a wheel and an editable install, and their use by openmim."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    'vidtx_mm',
    'configs',
    'tools',
    'model-index.yml',
    'build_mim.py',
    'pyproject.toml',
    'README.md',
    'LICENSE',
    'NOTICE',
)


def run(*command: str, cwd: Path, site: Path | None = None) -> str:
    """Return the output of a command with ``site`` first on its module path; fail with that output."""
    environment = os.environ | {'PYTHONPATH': str(site or ''), 'OMP_NUM_THREADS': '1'}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f'{command}\n{done.stdout}{done.stderr}'
    return done.stdout


def mim(*arguments: str, cwd: Path, site: Path) -> str:
    return run(sys.executable, '-m', 'mim', *arguments, cwd=cwd, site=site)


@pytest.fixture(scope='module')
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the inputs of a build, so that builds write nothing into the repository."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns('__pycache__', '.mim'))
        else:
            shutil.copy2(source, folder / name)
    return folder


@pytest.fixture(scope='module')
def wheel_site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel through a source distribution, as pip does, and unpack it."""
    folder = tmp_path_factory.mktemp('wheel')
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', str(folder / 'dist'), '.', cwd=checkout)
    (wheel,) = (folder / 'dist').glob('*.whl')
    zipfile.ZipFile(wheel).extractall(folder / 'site')
    return folder / 'site'


@pytest.fixture(scope='module')
def editable_site(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the files that an editable install puts into site-packages."""
    folder = tmp_path_factory.mktemp('editable')
    code = f'from setuptools import build_meta; build_meta.build_editable({str(folder)!r})'
    run(sys.executable, '-c', code, cwd=checkout)
    (wheel,) = folder.glob('*.whl')
    zipfile.ZipFile(wheel).extractall(folder / 'site')
    return folder / 'site'


@pytest.fixture(scope='module', params=['wheel_site', 'editable_site'])
def site(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)


def files(folder: Path, *patterns: str) -> set[str]:
    return {str(file.relative_to(folder)) for pattern in patterns for file in folder.rglob(pattern)}


def test_wheel_contains_every_module(checkout: Path, wheel_site: Path) -> None:
    modules = files(checkout / 'vidtx_mm', '*.py')
    assert 'backbones/video_swin.py' in modules
    assert modules == {name for name in files(wheel_site / 'vidtx_mm', '*.py') if not name.startswith('.mim')}


@pytest.mark.parametrize('folder', ['configs', 'tools'])
def test_wheel_contains_configs_and_tools(folder: str, checkout: Path, wheel_site: Path) -> None:
    kept = files(checkout / folder, '*.py', '*.yml')
    shipped = wheel_site / 'vidtx_mm' / '.mim' / folder
    assert kept
    assert kept == {name for name in files(shipped, '*') if (shipped / name).is_file()}


def test_wheel_contains_class_lists_and_the_command(checkout: Path, wheel_site: Path) -> None:
    lists = files(checkout / 'vidtx_mm', '*.txt')
    assert 'labels/kinetics400.txt' in lists and lists == files(wheel_site / 'vidtx_mm', '*.txt')
    (entry_points,) = wheel_site.glob('*.dist-info/entry_points.txt')
    assert 'vidtx = vidtx_mm.cli:main' in entry_points.read_text()


def test_wheel_contains_its_license_and_nothing_else(wheel_site: Path) -> None:
    assert {'LICENSE', 'NOTICE'} <= {Path(name).name for name in files(wheel_site, 'LICENSE', 'NOTICE')}
    assert {path.name for path in wheel_site.iterdir()} == {'vidtx_mm', 'vidtx_mm-0.1.0.dist-info'}


def test_editable_install_points_to_the_sources(checkout: Path, editable_site: Path) -> None:
    links = checkout / 'vidtx_mm' / '.mim'
    assert (links / 'configs').resolve() == checkout / 'configs'
    assert (links / 'model-index.yml').resolve() == checkout / 'model-index.yml'
    assert not (editable_site / 'vidtx_mm').exists()


def test_mim_search(site: Path, tmp_path: Path) -> None:
    out = mim('search', 'vidtx_mm', '--config', 'swin3d_b_ssv2', cwd=tmp_path, site=site)
    assert 'configs/swin3d_b_ssv2.py' in out and '69.6' in out


def test_mim_download(site: Path, tmp_path: Path) -> None:
    """Download a config with published weights, which exist already so that mim skips them, and one without."""
    weights = tmp_path / 'swin_base_patch244_window877_kinetics400_1k.pth'
    weights.write_bytes(b'here already')
    ids = ('swin3d_b_k400', 'swin3d_t_split_k400')
    mim('download', 'vidtx_mm', '--config', *ids, '--dest', str(tmp_path), cwd=tmp_path, site=site)
    assert {path.name for path in tmp_path.iterdir()} == {weights.name, *(f'{name}.py' for name in ids)}
    assert "type='vidtx_mm.VideoSwin'" in (tmp_path / 'swin3d_b_k400.py').read_text()


def test_mim_run_from_a_wheel(wheel_site: Path, tmp_path: Path) -> None:
    out = mim('run', 'vidtx_mm', 'doctor', cwd=tmp_path, site=wheel_site)
    assert 'recognition' in out.lower()
    assert 'swin3d_t_k400-torchvision *' in mim('run', 'vidtx_mm', 'models', 'swin*', cwd=tmp_path, site=wheel_site)


def test_mim_run_from_an_editable_install(checkout: Path, editable_site: Path, tmp_path: Path) -> None:
    (checkout / 'docs').mkdir()
    mim('run', 'vidtx_mm', 'model_zoo', cwd=tmp_path, site=editable_site)
    assert (checkout / 'docs' / 'model_zoo.md').read_text().startswith('# Model zoo')
