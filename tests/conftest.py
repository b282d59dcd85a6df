"""Shared fixtures: generated clips, and the real ``mim``."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from helpers import elsewhere

from vidtx_mm.demo.shapes import ShapesSpec, make_clip, write_mp4


@dataclass(frozen=True)
class Clips:
    """Data set of tiny videos (mp4, 32 x 32, 12 frames); the lists have lines 'name label'."""

    root: Path
    train: Path
    val: Path
    num_classes: int


@pytest.fixture(scope='session')
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Six training and three validation clips of three classes of motion."""
    folder = tmp_path_factory.mktemp('clips')
    data = Clips(folder / 'videos', folder / 'train.txt', folder / 'val.txt', num_classes=3)
    data.root.mkdir()
    rng, spec = np.random.default_rng(0), ShapesSpec(frames=12, size=32)
    for annotation, count in ((data.train, 6), (data.val, 3)):
        lines = [(f'{annotation.stem}_{index}.mp4', index % data.num_classes) for index in range(count)]
        for name, label in lines:
            write_mp4(make_clip(label, spec, rng), data.root / name, spec.fps)
        annotation.write_text(''.join(f'{name} {label}\n' for name, label in lines))
    return data


@pytest.fixture(scope='module')
def own_scope() -> Iterator[None]:
    """Give the registries back the default scope of before, which a Runner in this process replaces."""
    from mmengine.registry import DefaultScope

    before = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(before)


@pytest.fixture(scope='session')
def run_python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """``run_python(args, cwd, env=None)``: run this interpreter on the CPU; stdout and stderr come in ``stdout``."""

    def run(
        args: Sequence[object], cwd: Path, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, args)],
            cwd=cwd,
            env=elsewhere(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope='session')
def run_mim(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """``run_mim(args, cwd)``: run ``mim *args`` on the CPU and return its output; a failure ends the test."""

    def run(args: Sequence[object], cwd: Path) -> str:
        done = run_python(['-m', 'mim', *args], cwd)
        if done.returncode:
            tail = '\n'.join(done.stdout.splitlines()[-60:])
            pytest.fail(f'exit code {done.returncode}: mim {" ".join(map(str, args))}\n{tail}')
        return done.stdout

    return run
