"""Official annotation files of the data sets: the class of every clip, split by split."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vidtx_mm.labels import class_names

Labels = Mapping[str, int | str]  # name of a clip, without folder and extension, to its class, or classes: '12 3'


@dataclass(frozen=True)
class DataSet:
    """A published data set.

    Attributes:
        read: from the folder of annotations and the number of the split to the clips of each part ('train', 'val').
        counts: the number of clips of each part, by split: those of MMAction2's lists for Kinetics, else the published.
        lists: name of the list of a part, with {part}, {split} and {kind} ('videos' or 'rawframes').
    """

    read: Callable[[Path, int], Mapping[str, Labels]]
    counts: dict[str, tuple[int, ...]]
    lists: str


def find(folder: Path, *names: str) -> Path:
    """Return the first of ``names`` that a folder, or a folder below it, holds."""
    for name in names:
        if found := sorted(folder.rglob(name)):
            return found[0]
    raise FileNotFoundError(
        f'{folder} holds none of {", ".join(names)}; --annotations names the folder of official files'
    )


def _kinetics(classes: str) -> Callable[[Path, int], Mapping[str, Labels]]:
    def read(folder: Path, split: int) -> Mapping[str, Labels]:
        index = {name: label for label, name in enumerate(class_names(classes))}
        files = {
            'train': find(folder, 'train.csv', 'kinetics_train.csv', 'train.txt'),
            'val': find(folder, 'val.csv', 'validate.csv', 'kinetics_val.csv', 'val.txt'),
        }
        return {part: dict(_kinetics_rows(file, index, classes)) for part, file in files.items()}

    return read


def _kinetics_rows(file: Path, index: dict[str, int], classes: str) -> Iterator[tuple[str, int]]:
    with file.open(newline='', encoding='utf-8-sig') as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                label = index[row['label'].strip('"').replace('_', ' ')]
                start, end = (int(float(row[key])) for key in ('time_start', 'time_end'))
                yield f'{row["youtube_id"]}_{start:06d}_{end:06d}', label
            except KeyError as error:
                raise ValueError(
                    f'{file} line {number}: {error} is no class of {classes} or no column; expected a csv with label, '
                    f'youtube_id, time_start, time_end of {classes}'
                ) from error


def _something_v2(folder: Path, split: int) -> Mapping[str, Labels]:
    index = {name: label for label, name in enumerate(class_names('sthv2'))}
    parts = {}
    for part, name in (('train', 'train.json'), ('val', 'validation.json')):
        file = find(folder, name, f'something-something-v2-{name}')
        clips = json.loads(file.read_text(encoding='utf-8'))
        templates = ((clip['id'], clip['template'].replace('[', '').replace(']', '')) for clip in clips)
        parts[part] = {name: _label(index, template, file) for name, template in templates}
    return parts


def _something_v1(folder: Path, split: int) -> Mapping[str, Labels]:
    index = {name: label for label, name in enumerate(class_names('sthv1'))}
    parts = {}
    for part, name in (('train', 'train'), ('val', 'validation')):
        file = find(folder, f'something-something-v1-{name}.csv', f'{name}.csv')
        rows = (line.split(';', 1) for line in file.read_text(encoding='utf-8-sig').splitlines() if line)
        parts[part] = {name: _label(index, template, file) for name, template in rows}
    return parts


def _ucf101(folder: Path, split: int) -> Mapping[str, Labels]:
    index = {name: label for label, name in enumerate(class_names('ucf101'))}
    parts = {}
    for part, name in (('train', 'trainlist'), ('val', 'testlist')):
        file = find(folder, f'{name}{split:02d}.txt')
        paths = (Path(line.split()[0]) for line in file.read_text().splitlines() if line.strip())
        parts[part] = {path.stem: _label(index, path.parent.name, file) for path in paths}
    return parts


def _hmdb51(folder: Path, split: int) -> Mapping[str, Labels]:
    parts: dict[str, dict[str, int]] = {'train': {}, 'val': {}}
    for label, name in enumerate(class_names('hmdb51')):
        for line in find(folder, f'{name}_test_split{split}.txt').read_text().splitlines():
            video, use = line.split()
            if use in '12':
                parts['train' if use == '1' else 'val'][Path(video).stem] = label
    return parts


def _epic_kitchens(folder: Path, split: int) -> Mapping[str, Labels]:
    files = {'train': 'EPIC_100_train.csv', 'val': 'EPIC_100_validation.csv'}
    return {part: dict(_epic_rows(find(folder, name))) for part, name in files.items()}


def _epic_rows(file: Path) -> Iterator[tuple[str, str]]:
    nouns, verbs = (len(class_names(f'epic_kitchens100_{kind}')) for kind in ('noun', 'verb'))
    with file.open(newline='', encoding='utf-8-sig') as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                name, noun, verb = row['narration_id'], int(row['noun_class']), int(row['verb_class'])
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(
                    f'{file} line {number}: {error}; expected a csv with narration_id, noun_class and verb_class'
                ) from error
            if not (0 <= noun < nouns and 0 <= verb < verbs):
                raise ValueError(
                    f'{file} line {number}: noun {noun}, verb {verb}; there are {nouns} nouns and {verbs} verbs, from 0'
                )
            yield name, f'{noun} {verb}'


def _label(index: dict[str, int], name: str, file: Path) -> int:
    if name not in index:
        raise ValueError(f'{file}: {name!r} is no class of this data set')
    return index[name]


DATA_SETS = {
    'kinetics400': DataSet(
        _kinetics('kinetics400'), {'train': (240436,), 'val': (19796,)}, 'kinetics400_{part}_list_{kind}.txt'
    ),
    'kinetics600': DataSet(
        _kinetics('kinetics600'), {'train': (383393,), 'val': (27910,)}, 'kinetics600_{part}_list_{kind}.txt'
    ),
    'kinetics700': DataSet(
        _kinetics('kinetics700'), {'train': (542357,), 'val': (34824,)}, 'kinetics700_{part}_list_{kind}.txt'
    ),
    'ssv2': DataSet(_something_v2, {'train': (168913,), 'val': (24777,)}, 'sthv2_{part}_list_{kind}.txt'),
    'ssv1': DataSet(_something_v1, {'train': (86017,), 'val': (11522,)}, 'sthv1_{part}_list_{kind}.txt'),
    'epic_kitchens100': DataSet(
        _epic_kitchens, {'train': (67217,), 'val': (9668,)}, 'epic_kitchens100_{part}_list_{kind}.txt'
    ),
    'ucf101': DataSet(
        _ucf101, {'train': (9537, 9586, 9624), 'val': (3783, 3734, 3696)}, 'ucf101_{part}_split_{split}_{kind}.txt'
    ),
    'hmdb51': DataSet(_hmdb51, {'train': (3570,) * 3, 'val': (1530,) * 3}, 'hmdb51_{part}_split_{split}_{kind}.txt'),
}
