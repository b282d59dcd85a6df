"""Lists of training and validation videos, from the official files of a data set or from class folders."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidtx_mm.checks import choose

from .annotations import DATA_SETS, Labels
from .folders import SPLITS, read_folder
from .predict import EXTENSIONS

CLIP_TIMES = re.compile(r'_\d{6}_\d{6}$')  # of Kinetics: some copies leave them out of the file names


@dataclass(frozen=True)
class ListReport:
    """One list: its file, the clips it holds, the annotated ones without a file, and the number that is published."""

    file: Path
    count: int
    missing: list[str]
    published: int | None = None

    def __str__(self) -> str:
        published = f', published: {self.published:,}' if self.published else ''
        missing = f', {len(self.missing):,} missing (named in {missing_file(self.file)})' if self.missing else ''
        return f'{self.file}: {self.count:,} clips{published}{missing}'


def missing_file(file: Path) -> Path:
    return file.with_name(f'{file.stem}_missing.txt')


def make_lists(
    data_set: str,
    videos: str | Path,
    out: str | Path,
    annotations: str | Path | None = None,
    split: int = 1,
    val_share: float = 0.2,
    seed: int = 0,
) -> list[ListReport]:
    """Write the lists that the configs of a data set name, with the class order of MMAction2.

    Args:
        data_set: a name of ``DATA_SETS``, or 'folder' for class folders of videos.
        videos: the folder of the videos. Where it has ``videos_train`` and ``videos_val`` (or ``train`` and ``val``),
            paths in a list are relative to that folder of its own. Of Something-Something V1, folders of frames do too.
        out: folder of the lists; annotated clips without a file are named in LIST_missing.txt.
        annotations: folder of the official csv, json or txt files; not for 'folder'.
        split: 1, 2 or 3, for UCF101 and HMDB51.
        val_share: part of the videos that validate, for 'folder' without a train and a val folder.
        seed: of that split.

    Raises:
        OSError: if a folder or an annotation file does not exist.
        ValueError: if annotations do not fit the data set, or no clip has a file.
    """
    choose('data_set', data_set, (*DATA_SETS, 'folder'))
    out, videos = Path(out), Path(videos)
    if not videos.is_dir():
        raise NotADirectoryError(f'{videos}: no such folder of videos')
    out.mkdir(parents=True, exist_ok=True)
    if data_set == 'folder':
        return list(_from_folder(videos, out, val_share, seed))
    if annotations is None:
        raise ValueError(f'{data_set} needs the folder of its official annotation files: --annotations FOLDER')
    choose('split', split, (1, 2, 3))
    known = DATA_SETS[data_set]
    matched = {
        part: _match(_part_folder(videos, part), labels)
        for part, labels in known.read(Path(annotations), split).items()
    }
    if not any(lines for lines, _, _ in matched.values()):
        names = ', '.join(missing[0] for _, missing, _ in matched.values())
        raise ValueError(f'{videos} holds none of the annotated clips, such as {names}')
    reports = []
    for part, (lines, missing, kind) in matched.items():
        published = known.counts[part][split - 1 if len(known.counts[part]) > 1 else 0]
        name = known.lists.format(part=part, split=split, kind=kind)
        reports.append(_write_list(out / name, lines, missing, published))
    return reports


def _from_folder(videos: Path, out: Path, val_share: float, seed: int) -> Iterator[ListReport]:
    folder = read_folder(videos, val_share, seed)
    (out / 'classes.txt').write_text(''.join(f'{name}\n' for name in folder.classes), encoding='utf-8')
    for part in SPLITS:
        clips: list[tuple[str, int]] = getattr(folder, part)
        yield _write_list(out / f'{part}.txt', [f'{path} {label}' for path, label in clips], [])


def _part_folder(videos: Path, part: str) -> Path:
    return next((videos / name for name in (f'videos_{part}', part) if (videos / name).is_dir()), videos)


def _match(videos: Path, labels: Labels) -> tuple[list[str], list[str], str]:
    """Return the lines of the clips that ``videos`` holds, the names of the others, and 'videos' or 'rawframes'."""
    clips, kind = _clips(videos), 'videos'
    if not clips:
        clips, kind = _frame_folders(videos), 'rawframes'
    lines, missing = [], []
    for name, label in labels.items():
        clip = clips.get(name) or clips.get(CLIP_TIMES.sub('', name))
        if clip is None:
            missing.append(name)
        else:
            lines.append(f'{clip} {label}')
    return lines, missing, kind


def _clips(videos: Path) -> dict[str, str]:
    """Return the path of every video, relative to ``videos``, by its name without extension."""
    places = ((os.path.relpath(place, videos), files) for place, _, files in os.walk(videos, followlinks=True))
    paths = (os.path.normpath(os.path.join(below, file)) for below, files in places for file in files)
    return {Path(path).stem: path for path in paths if os.path.splitext(path)[1].lower() in EXTENSIONS}


def _frame_folders(videos: Path) -> dict[str, str]:
    """Return 'folder frames' of every folder of jpg files, by the name of the folder."""
    places = (
        (place, sum(file.endswith('.jpg') for file in files)) for place, _, files in os.walk(videos, followlinks=True)
    )
    return {os.path.basename(place): f'{os.path.relpath(place, videos)} {count}' for place, count in places if count}


def _write_list(file: Path, lines: list[str], missing: list[str], published: int | None = None) -> ListReport:
    file.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8', errors='surrogateescape')
    if missing:
        missing_file(file).write_text(''.join(f'{name}\n' for name in missing), encoding='utf-8')
    return ListReport(file, len(lines), missing, published)
