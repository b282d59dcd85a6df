"""A folder of videos as a data set: classes, and which videos train and which validate."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from vidtx_mm.datasets import parse_line, read_lines
from vidtx_mm.labels import class_names

from .predict import EXTENSIONS

SPLITS = ('train', 'val')
Labeled = tuple[str, int]


@dataclass(frozen=True)
class Folder:
    """Videos of ``root`` as (path below it, class index), and the class names by index."""

    root: Path
    classes: tuple[str, ...]
    train: list[Labeled]
    val: list[Labeled]


def read_folder(root: str | Path, val_share: float = 0.2, seed: int = 0, group: str | None = None) -> Folder:
    """Read class folders of videos, ``train/`` and ``val/`` with class folders, or lists.

    - Class folders are split: of each class about ``val_share`` of the videos validate, at least one. The split depends
      on ``seed`` and the names alone.
    - Lists are ``train.txt`` and ``val.txt`` with lines 'path label', the paths relative to the folder, and perhaps
      ``classes.txt`` with a name on each line.

    Args:
        root: the folder.
        val_share: between 0 and 1.
        seed: of the split.
        group: a regular expression; files in whose names it finds the same text are of one source, and stay on one side
            of the split (UCF101: ``_g\\d+_``).

    Raises:
        OSError: if a folder cannot be read.
        ValueError: if there are no videos, fewer than two classes, or a class that cannot be split.
    """
    root = Path(root).resolve()
    if not root.is_dir():
        raise NotADirectoryError(f'{root}: no such folder')
    if not 0 < val_share < 1:
        raise ValueError(f'val_share={val_share}: give a number between 0 and 1')
    if (root / 'train.txt').is_file():
        return _from_lists(root)
    sides = all((root / side).is_dir() for side in SPLITS)
    found = {side: _class_folders(root / side) for side in SPLITS} if sides else {'train': _class_folders(root)}
    classes = tuple(sorted({name for videos in found.values() for name in videos}))
    _check(root, classes, found['train'])
    parts: dict[str, list[Labeled]] = {side: [] for side in SPLITS}
    for label, name in enumerate(classes):
        split = {side: videos.get(name, []) for side, videos in found.items()}
        if not sides:
            split = _split(name, split['train'], val_share, Random(f'{seed}/{name}'), group)
        for side, videos in split.items():
            parts[side] += [(str(video.relative_to(root)), label) for video in videos]
    return Folder(root, classes, parts['train'], parts['val'])


def _check(root: Path, classes: tuple[str, ...], videos: dict[str, list[Path]]) -> None:
    if not classes:
        raise ValueError(f'{root} holds no videos in class folders, such as {root.name}/jump/1.mp4')
    if len(classes) == 1:
        raise ValueError(f'{root} has one class alone, {classes[0]!r}: give a folder for each of at least two classes')
    if absent := [name for name in classes if name not in videos]:
        raise ValueError(f'{root}: no training video of class {", ".join(map(repr, absent))}')


def _class_folders(root: Path) -> dict[str, list[Path]]:
    """The videos below each folder of ``root`` that holds some."""
    found = {}
    for folder in sorted(Path(entry.path) for entry in os.scandir(root) if entry.is_dir()):
        if videos := sorted(_videos(folder)):
            found[folder.name] = videos
    return found


def _videos(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for place, _, names in os.walk(folder, onerror=fail):
        yield from (Path(place, name) for name in names if Path(name).suffix.lower() in EXTENSIONS)


def _split(name: str, videos: list[Path], val_share: float, random: Random, group: str | None) -> dict[str, list[Path]]:
    sources: dict[str, list[Path]] = defaultdict(list)
    for video in videos:
        match = re.search(group, video.name) if group else None
        sources[match[0] if match else str(video)].append(video)
    if len(sources) < 2:
        what = 'one video' if len(videos) == 1 else f'{len(videos)} videos of one source'
        raise ValueError(f'class {name!r} has {what}: it needs two, one to train and one to validate')
    order = sorted(sources)
    random.shuffle(order)
    wanted = min(max(1, round(val_share * len(videos))), len(videos) - 1)
    val: list[Path] = []
    for source in order[:-1]:  # the last one trains
        if len(val) < wanted:
            val += sources[source]
    return {'train': sorted(set(videos) - set(val)), 'val': sorted(val)}


def _from_lists(root: Path) -> Folder:
    parts = {side: _read_list(root / f'{side}.txt') for side in SPLITS}
    labels = {label for part in parts.values() for _, label in part}
    named = root / 'classes.txt'
    classes = class_names(named) if named.is_file() else tuple(map(str, range(max(labels) + 1)))
    if labels - set(range(len(classes))):
        raise ValueError(f'{root}: label {max(labels)} has no name in {named} ({len(classes)} names)')
    _check(root, classes, {classes[label]: [] for _, label in parts['train']})
    return Folder(root, classes, parts['train'], parts['val'])


def _read_list(file: Path) -> list[Labeled]:
    if not file.is_file():
        raise FileNotFoundError(f'{file}: no such list; train.txt needs a val.txt beside it')
    found = []
    for number, line in read_lines(str(file)):
        parsed = parse_line(line, 'auto', 1)
        if parsed is None:
            raise ValueError(f"{file} line {number}: {line!r} does not have the form 'path label'")
        found.append((parsed[0], parsed[1][0]))
    if not found:
        raise ValueError(f'{file} is empty')
    return found
