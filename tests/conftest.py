"""Fixtures shared by the tests: generated clips, and the real ``mim``."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest


@dataclass(frozen=True)
class Clips:
    """A data set of tiny videos (mp4v, 32 x 32, 12 frames): ``root`` holds the files, each list 'name label' lines."""

    root: Path
    train: Path
    val: Path
    num_classes: int


def write_clip(path: Path, label: int, seed: int, size: tuple[int, int] = (32, 32), frames: int = 12) -> None:
    """A bright square that moves right (label 0), down (1) or both (2), from a random start. ``size`` is (w, h)."""
    rng = np.random.default_rng(seed)
    width, height = size
    start, step = rng.integers(0, (width, height)), np.array([[2, 0], [0, 2], [2, 2]][label])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, size)
    for time in range(frames):
        frame = np.full((height, width, 3), 40, np.uint8)
        x, y = (start + time * step) % (width - 8, height - 8)
        frame[y : y + 8, x : x + 8] = 220
        writer.write(frame)
    writer.release()


@pytest.fixture(scope='session')
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """Six clips for training and three for validation, of three classes."""
    folder = tmp_path_factory.mktemp('clips')
    data = Clips(folder / 'videos', folder / 'train.txt', folder / 'val.txt', num_classes=3)
    data.root.mkdir()
    for annotation, count in ((data.train, 6), (data.val, 3)):
        names = [(f'{annotation.stem}_{index}.mp4', index % data.num_classes) for index in range(count)]
        for index, (name, label) in enumerate(names):
            write_clip(data.root / name, label, seed=index + 100 * (annotation is data.val))
        annotation.write_text(''.join(f'{name} {label}\n' for name, label in names))
    return data


def cpu_environment(**extra: str) -> dict[str, str]:
    """The environment of a user elsewhere: no path to this checkout, no GPU, one thread per process."""
    inherited = {name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'VIDTX_MM_NO_REPAIR')}
    return inherited | {'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': ''} | extra


@pytest.fixture(scope='session')
def run_mim() -> Callable[..., str]:
    """``run_mim(args, cwd, env=None, check=True)``: run ``mim *args`` in ``cwd`` on the CPU and return its output.

    stdout and stderr come in one string. With ``check`` a failure ends the test and shows the last 60 lines.
    """

    def run(args: Sequence[object], cwd: Path, env: Mapping[str, str] | None = None, check: bool = True) -> str:
        command = [sys.executable, '-m', 'mim', *map(str, args)]
        done = subprocess.run(
            command,
            cwd=cwd,
            env=cpu_environment(**(env or {})),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )
        if check and done.returncode:
            tail = '\n'.join(done.stdout.splitlines()[-60:])
            pytest.fail(f'exit code {done.returncode}: mim {" ".join(map(str, args))}\n{tail}')
        return done.stdout

    return run
