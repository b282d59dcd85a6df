"""`make` names the problem of an unusable interpreter, before it writes anything."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

OLD = 'echo Python 3.8.10; case "$*" in *version_info*) exit 1;; esac'
NEW = 'echo Python 3.14.0; case "$*" in *version_info*) exit 1;; esac'
NO_VENV = 'echo Python 3.11.2; case "$*" in *ensurepip*) exit 1;; esac'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('Makefile', 'pyproject.toml', 'constraints.txt', 'build_mim.py'):
        shutil.copy2(ROOT / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize('goal', ['test', 'demo'])
@pytest.mark.parametrize(
    ('script', 'words'),
    [
        (None, ("'./python' is not on the PATH", 'Install Python 3.10')),
        (OLD, ('needs Python 3.10, 3.11 or 3.12', 'is Python 3.8.10', 'PYTHON=python3.11')),
        (NEW, ('needs Python 3.10, 3.11 or 3.12', 'is Python 3.14.0')),
        (NO_VENV, ('lacks the modules venv and ensurepip', 'apt-get install python3-venv')),
    ],
)
def test_unfit_python(folder: Path, goal: str, script: str | None, words: tuple[str, ...]) -> None:
    if script:
        (folder / 'python').write_text(f'#!/bin/sh\n{script}\n')
        (folder / 'python').chmod(0o755)
    done = subprocess.run(['make', goal, 'PYTHON=./python'], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert all(word in done.stderr for word in words), done.stderr
    assert f'make {goal} PYTHON=' in done.stderr or script == NO_VENV
    assert not (folder / '.venv').exists()
