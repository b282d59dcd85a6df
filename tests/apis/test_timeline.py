"""Windows over long videos: their places, their scores, memory, and the files of the command."""

import csv
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidtx_mm.apis.predict import predict
from vidtx_mm.apis.preprocess import Preprocess
from vidtx_mm.apis.recognizer import load_recognizer
from vidtx_mm.apis.show import write_video
from vidtx_mm.apis.timeline import seconds_per_frame, sliding, timeline
from vidtx_mm.cli import main
from vidtx_mm.demo.shapes import ShapesSpec, make_clip


@pytest.fixture(scope='module')
def recognizer(demo_run: Any) -> Any:
    return load_recognizer(run=demo_run.work_dir)


@pytest.fixture(scope='module')
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty frames at 10 per second."""
    file = tmp_path_factory.mktemp('long') / 'long.mp4'
    write_video(make_clip(0, ShapesSpec(frames=30), np.random.default_rng(0)), file, 10)
    return file


@pytest.mark.parametrize(
    ('count', 'length', 'step', 'starts'),
    [
        (10, 4, 2, [0, 2, 4, 6]),
        (9, 4, 2, [0, 2, 4, 5]),
        (3, 4, 2, [0]),
        (4, 4, 9, [0]),
        (12, 4, 5, [0, 5, 8]),
        (0, 4, 2, []),
    ],
)
def test_sliding(count: int, length: int, step: int, starts: list[int]) -> None:
    """Windows are whole, ascend, and reach the last frame."""
    frames: Iterator[Any] = iter(range(count))
    found = list(sliding(frames, length, step))
    assert [first for first, _ in found] == starts
    assert all(window == [min(first + i, count - 1) for i in range(length)] for first, window in found)


def test_windows_cover_the_video(recognizer: Any, video: Path) -> None:
    rows = list(timeline(recognizer, video, topk=2))
    assert [round(row.start, 2) for row in rows] == [0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.2]
    assert rows[0].end == pytest.approx(0.8) and rows[-1].end == pytest.approx(3.0)
    assert all(len(row.predictions) == 2 for row in rows)
    assert len(list(timeline(recognizer, video, stride=1.0))) == 4


def test_a_window_scores_as_the_clip_alone(recognizer: Any, video: Path, tmp_path: Path) -> None:
    """A video of the first window's frames has its scores; encoding it again moves them a little."""
    write_video(make_clip(0, ShapesSpec(frames=30), np.random.default_rng(0))[:8], tmp_path / 'first.mp4', 10)
    (alone,) = predict(recognizer, [tmp_path / 'first.mp4'], topk=8, views='one')
    first = next(timeline(recognizer, video, topk=8))
    scores = [{one['index']: one['score'] for one in found} for found in (alone['predictions'], first.predictions)]
    assert max(abs(scores[0][index] - scores[1][index]) for index in range(8)) < 0.05


def test_a_short_video_gives_one_window(recognizer: Any, tmp_path: Path) -> None:
    write_video([np.zeros((32, 32, 3), np.uint8)], tmp_path / 'one.mp4', 10)
    assert len(list(timeline(recognizer, tmp_path / 'one.mp4'))) == 1


def test_spacing_of_frames() -> None:
    rule = dict(mean=(), std=(), channel_order='rgb', clip_len=8, size=None, protocol=None, views=(1, 1))
    assert seconds_per_frame(Preprocess(frame_interval=4, target_fps=None, **rule), 25) == 4 / 25
    assert seconds_per_frame(Preprocess(frame_interval=32, target_fps=30, **rule), 25) == 32 / 30
    assert seconds_per_frame(Preprocess(frame_interval=None, target_fps=None, **rule), 25) == 3 / 8


def test_the_command_writes_a_table_and_a_picture(demo_run: Any, video: Path, tmp_path: Path) -> None:
    assert (
        main(['timeline', str(video), '--run', str(demo_run.work_dir), '--out', str(tmp_path / 'out'), '--topk', '2'])
        == 0
    )
    rows = list(csv.DictReader((tmp_path / 'out.csv').open()))
    assert list(rows[0]) == ['start', 'end', 'label1', 'probability1', 'label2', 'probability2'] and len(rows) == 7
    assert (tmp_path / 'out.png').read_bytes().startswith(b'\x89PNG')


def test_an_hour_needs_little_memory(demo_run: Any, tmp_path: Path) -> None:
    """An hour at one frame a second and low resolution, in a process of its own: below 2 GB, as a short video is."""
    write_video((np.full((48, 64, 3), index % 200, np.uint8) for index in range(3600)), tmp_path / 'hour.mp4', 1)
    code = (
        'from vidtx_mm.benchmark.memory import resident_peak\n'
        'from vidtx_mm.cli import main\n'
        f'words = ["timeline", {str(tmp_path / "hour.mp4")!r}, "--run", {str(demo_run.work_dir)!r}, "--stride", "30"]\n'
        'assert main(words) == 0\n'
        'print(round(resident_peak()))\n'  # in MiB
    )
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 2000
    assert len((tmp_path / 'hour.csv').read_text().splitlines()) > 110
