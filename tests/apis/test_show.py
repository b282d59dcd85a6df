"""Videos with predictions written into them."""

from pathlib import Path
from typing import Any

import numpy as np

from vidtx_mm.apis.show import label_frames, write_video
from vidtx_mm.cli import main
from vidtx_mm.video import VideoReader


def test_frames_come_in_order_at_any_step(tmp_path: Path) -> None:
    frames = [np.full((32, 48, 3), 2 * index, np.uint8) for index in range(69)]
    write_video(frames, tmp_path / 'ramp.mp4', 8)
    for step in (1, 3):
        with VideoReader(tmp_path / 'ramp.mp4') as reader:
            means = np.array([frame.mean() for frame in reader.iter_frames(range(0, len(reader), step))])
        assert len(means) == len(frames[::step])
        assert np.abs(means - 2 * step * np.arange(len(means))).max() < 4


def test_labels_are_drawn_on_a_readable_size() -> None:
    (frame,) = label_frames([np.full((32, 33, 3), 200, np.uint8)], ['0.91  clap', '0.05  wave'])
    assert frame.shape == (256, 264, 3) and frame[-1].min() == 200
    assert frame[:40].min() < 100 and frame[:40].max() == 255


def test_the_command_writes_a_video(demo_run: Any, clips: Any, tmp_path: Path) -> None:
    video, out = clips.root / 'val_0.mp4', tmp_path / 'shown' / 'out.mp4'
    words = ['predict', str(video), '--run', str(demo_run.work_dir)]
    assert main([*words, '--show', str(out)]) == 0
    with VideoReader(video) as before, VideoReader(out) as after:
        assert len(before) == len(after) and min(after.height, after.width) >= 240
    assert main([*words, str(video), '--show', str(out)]) == 2
    assert main([*words, str(clips.root / 'val_1.mp4'), '--show', str(tmp_path / 'all')]) == 0
    assert {file.name for file in (tmp_path / 'all').iterdir()} == {'val_0.mp4', 'val_1.mp4'}
