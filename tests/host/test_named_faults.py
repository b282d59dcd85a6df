"""Faults that only the user can fix: the table reports each that is present."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sites import site_without

RunPython = Callable[..., subprocess.CompletedProcess[str]]

STATE = 'import vidtx_mm.compat as c; print([c.state(row) for row in c.REPAIRS if row.name == {name!r}])\n'
MOVIEPY = """
import numpy as np
from mmaction.visualization import LocalVisBackend
LocalVisBackend('.').add_video('a', np.zeros((2, 8, 8, 3), np.uint8), out_type='gif')
"""
BASE = """
from mmengine import Config
Config.fromstring("_base_ = 'mmaction::_base_/default_runtime.py'", '.py')
"""


@pytest.mark.parametrize(
    'name, absent, code',
    [
        ('importlib_metadata', ('importlib_metadata',), 'import mmaction.models'),
        ('pkg_resources', ('pkg_resources', 'setuptools'), 'import mim'),
        ('pkg_resources', ('pkg_resources', 'setuptools'), BASE),
    ],
)
def test_absent_package(name: str, absent: tuple[str, ...], code: str, run_python: RunPython, tmp_path: Path) -> None:
    env = {'PYTHONPATH': str(site_without(tmp_path, *absent))}
    done = run_python(['-S', '-c', STATE.format(name=name) + code], tmp_path, env)
    assert done.stdout.splitlines()[0] == "['open']"
    assert done.returncode != 0
    assert f"No module named '{name}'" in done.stdout, done.stdout[-2000:]


def test_moviepy_2(run_python: RunPython, tmp_path: Path) -> None:
    """moviepy 2 has no ``moviepy.editor``."""
    (tmp_path / 'moviepy').mkdir()
    (tmp_path / 'moviepy/__init__.py').write_text('class ImageSequenceClip: ...')
    done = run_python(['-c', STATE.format(name='moviepy') + MOVIEPY], tmp_path, {'PYTHONPATH': str(tmp_path)})
    assert done.stdout.splitlines()[0] == "['open']"
    assert 'ImportError: Please install moviepy' in done.stdout, done.stdout[-2000:]
