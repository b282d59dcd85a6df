"""Folders of videos as data sets: forms, splits, and errors that name the remedy."""

import os
from pathlib import Path

import pytest

from vidtx_mm.apis.folders import read_folder


def fill(root: Path, **classes: int | list[str]) -> Path:
    """Class folders with empty files: how many, or their names."""
    for name, videos in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for video in [f'{i}.mp4' for i in range(videos)] if isinstance(videos, int) else videos:
            (root / name / video).touch()
    return root


def test_class_folders_are_split_by_class(tmp_path: Path) -> None:
    data = read_folder(fill(tmp_path, jump=10, run=5, clap=2), val_share=0.2)
    assert data.classes == ('clap', 'jump', 'run') and data.root == tmp_path
    count = {label: [side for side in (data.train, data.val) for _, one in side if one == label] for label in range(3)}
    assert [len(count[label]) for label in range(3)] == [2, 10, 5]
    assert [sum(one == label for _, one in data.val) for label in range(3)] == [1, 2, 1]
    assert not {path for path, _ in data.train} & {path for path, _ in data.val}
    assert all((tmp_path / path).is_file() for path, _ in data.train + data.val)


def test_the_split_depends_on_seed_and_names_alone(tmp_path: Path) -> None:
    one, two = fill(tmp_path / 'a', jump=30, run=30), fill(tmp_path / 'b', run=30, jump=30)
    assert read_folder(one).val == read_folder(two).val != read_folder(one, seed=1).val


def test_videos_of_one_source_stay_together(tmp_path: Path) -> None:
    names = [f'v_g{source}_c{cut}.avi' for source in range(6) for cut in range(4)]
    data = read_folder(fill(tmp_path, a=names, b=names), val_share=0.3, group=r'_g\d+_')
    sources = [{path.split('_')[1] for path, label in side if label == 0} for side in (data.train, data.val)]
    assert not sources[0] & sources[1] and len(sources[1]) == 2


def test_given_sides_are_kept(tmp_path: Path) -> None:
    fill(tmp_path / 'train', jump=3, run=3)
    fill(tmp_path / 'val', jump=1)
    data = read_folder(tmp_path)
    assert len(data.train) == 6 and data.val == [('val/jump/0.mp4', 0)]


def test_lists(tmp_path: Path) -> None:
    (tmp_path / 'train.txt').write_text('a b.mp4 0\nc.mp4 1\n')
    (tmp_path / 'val.txt').write_text('d.mp4,1\n')
    data = read_folder(tmp_path)
    assert data.train == [('a b.mp4', 0), ('c.mp4', 1)] and data.val == [('d.mp4', 1)] and data.classes == ('0', '1')
    (tmp_path / 'classes.txt').write_text('jump\nrun\n')
    assert read_folder(tmp_path).classes == ('jump', 'run')
    (tmp_path / 'val.txt').write_text('d.mp4 2\n')
    with pytest.raises(ValueError, match='label 2 has no name'):
        read_folder(tmp_path)
    (tmp_path / 'val.txt').write_text('d.mp4\n')
    with pytest.raises(ValueError, match="val.txt line 1: 'd.mp4' does not have the form 'path label'"):
        read_folder(tmp_path)
    (tmp_path / 'val.txt').unlink()
    with pytest.raises(FileNotFoundError, match='train.txt needs a val.txt'):
        read_folder(tmp_path)


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match='gone: no such folder'):
        read_folder(tmp_path / 'gone')
    with pytest.raises(ValueError, match='holds no videos in class folders'):
        read_folder(fill(tmp_path / 'empty', jump=0))
    with pytest.raises(ValueError, match="one class alone, 'jump'"):
        read_folder(fill(tmp_path / 'one', jump=3))
    with pytest.raises(ValueError, match="class 'run' has one video: it needs two"):
        read_folder(fill(tmp_path / 'few', jump=3, run=1))
    with pytest.raises(ValueError, match="class 'run' has 2 videos of one source"):
        read_folder(fill(tmp_path / 'same', jump=['a1.mp4', 'b1.mp4'], run=['a1.mp4', 'a2.mp4']), group='[ab]')
    with pytest.raises(ValueError, match='val_share=1: give a number between'):
        read_folder(tmp_path, val_share=1)
    fill(tmp_path / 'sides' / 'train', jump=2)
    fill(tmp_path / 'sides' / 'val', jump=1, run=1)
    with pytest.raises(ValueError, match="no training video of class 'run'"):
        read_folder(tmp_path / 'sides')


def test_a_folder_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything, so the refusal is played."""
    fill(tmp_path, jump=2, run=2)
    scandir = os.scandir

    def refuse(path: str | os.PathLike) -> object:
        if Path(path).name == 'run':
            raise PermissionError(13, 'Permission denied', str(path))
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(PermissionError, match='run'):
        read_folder(tmp_path)
