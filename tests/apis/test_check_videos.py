"""check-videos: every bad file named, a cleaned list, and the exit code."""

import os
from pathlib import Path

import pytest
from videos import DAMAGE, write_audio, write_video

from vidtx_mm.apis.check_videos import check_video, check_videos
from vidtx_mm.cli import main


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sound videos, and one of each kind of damage."""
    root = tmp_path_factory.mktemp('checked')
    sound = write_video(root / 'good 1.mp4', options={'g': '8'})
    write_video(root / 'good 2.webm', codec='libvpx-vp9', options={'deadline': 'realtime'})
    for name, damage in DAMAGE.items():
        (root / f'{name}.mp4').write_bytes(damage(sound.read_bytes()))
    write_audio(root / 'audio.mp4')
    os.mkfifo(root / 'fifo.mp4')
    return root


BAD = {*(f'{name}.mp4' for name in DAMAGE), 'audio.mp4', 'fifo.mp4'}


def test_a_folder(folder: Path, tmp_path: Path) -> None:
    seen: list[str] = []
    check = check_videos(folder, out=tmp_path, workers=2, on_bad=lambda path, reason: seen.append(path))
    assert check.total == 2 + len(BAD)
    assert set(check.bad) == set(seen) == {str(folder / name) for name in BAD}
    assert check.clean_list.read_text().splitlines() == ['good 1.mp4', 'good 2.webm']
    rows = [line.split('\t') for line in check.bad_file.read_text().splitlines()]
    assert dict(rows) == check.bad


def test_the_command_on_a_list(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    listed = tmp_path / 'train.txt'
    listed.write_text('good 1.mp4 0\nempty.mp4 1\nnone.mp4 1\ngood 2.webm 2\n')
    words = ['check-videos', str(listed), '--data-root', str(folder), '--out', str(tmp_path)]
    assert main(words) == 1
    out = capsys.readouterr().out
    assert f'{folder / "none.mp4"}: No such file or directory' in out and '2 of 4 videos cannot be read' in out
    assert (tmp_path / 'train_clean.txt').read_text() == 'good 1.mp4 0\ngood 2.webm 2\n'
    listed.write_text('good 1.mp4 0\n')
    assert main(words) == 0


def test_all_frames_find_what_the_ends_do_not(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mkv', codec='libvpx-vp9', options={'deadline': 'realtime', 'g': '6'})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    assert 'of its' in str(check_video(path, 'all'))


def test_nothing_to_check(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='holds no videos'):
        check_videos(tmp_path)
    (tmp_path / 'a.txt').write_text('a.mp4\n')
    with pytest.raises(ValueError, match="a.txt line 1: 'a.mp4' does not have the form"):
        check_videos(tmp_path / 'a.txt')
    with pytest.raises(ValueError, match="decode='half'"):
        check_videos(tmp_path, decode='half')
