"""The target 'lists': ``VideoListDataset`` of mutated video lists."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Case
from mutations import BYTE_MUTATIONS, mutate_bytes

from vidtx_mm.datasets import VideoListDataset

CLASSES = 10
Lines = list[str]
Entries = list[tuple[str, Any]]
ENTRIES: Entries = [(f'videos/clip_{index}.mp4', index % CLASSES) for index in range(12)]


def plain() -> Lines:
    return [f'{path} {label}' for path, label in ENTRIES]


def _line(*texts: str) -> Callable[[random.Random, Lines], None]:
    """Return a mutation that puts one of ``texts``, with {path} and {label}, in place of a line."""

    def mutate(draw: random.Random, lines: Lines) -> None:
        place = draw.randrange(len(lines))
        path, label = ENTRIES[place]
        lines[place] = draw.choice(texts).format(path=path, label=label)

    return mutate


def _every(*texts: str) -> Callable[[random.Random, Lines], None]:
    """Return a mutation that writes all lines in one of the forms ``texts``."""

    def mutate(draw: random.Random, lines: Lines) -> None:
        text = draw.choice(texts)
        lines[:] = [text.format(path=path, label=label) for path, label in ENTRIES]

    return mutate


def _between(*texts: str) -> Callable[[random.Random, Lines], None]:
    """Return a mutation that inserts one of ``texts``."""
    return lambda draw, lines: lines.insert(draw.randrange(len(lines) + 1), draw.choice(texts))


# Lists of the same entries, which must be read as such or refused.
SAME: dict[str, Callable[[random.Random, Lines], None]] = {
    'nothing': lambda draw, lines: None,
    'another delimiter': _every('{path},{label}', '{path}\t{label}', '{path} , {label}', '{path}   {label}'),
    'quotes': _every('"{path}" {label}', '"{path}",{label}'),
    'blanks around': _every('  {path} {label}  ', '\t{path} {label}'),
    'comments': _between('# a comment', '#', '', '   ', '\t', '# videos/a.mp4 3'),
    'leading zeros': _line('{path} 0{label}', '{path} +{label}'),
}
# Lists with an error, which must be refused.
WRONG: dict[str, Callable[[random.Random, Lines], None]] = {
    'no label': _line('{path}', '{path} ', '{path},'),
    'labels of other types': _line('{path} cat', '{path} 1.5', '{path} 1e3', '{path} None', '{path} nan', '{path} ٣x'),
    'labels outside': _line('{path} -1', '{path} 10', '{path} 400', '{path} 99999999999999999999999'),
    'headers': lambda draw, lines: lines.insert(0, draw.choice(['path label', 'label,id,split', 'video class'])),
    'second label': lambda draw, lines: lines.append(f'{ENTRIES[3][0]} 7'),
    'frame folders': lambda draw, lines: lines.__setitem__(slice(None), [f'folder_{i} 120 {i % 10}' for i in range(9)]),
    'no lines': lambda draw, lines: lines.clear(),
    'comments alone': lambda draw, lines: lines.__setitem__(slice(None), ['# a', '', '#']),
}
# Lists that name other files or labels, which must be read as written.
OTHER: dict[str, tuple[str, tuple[str, int]]] = {
    'blanks in paths': ('a b/c d.mp4 3', ('a b/c d.mp4', 3)),
    'commas in paths': ('a,b.mp4 3', ('a,b.mp4', 3)),
    'addresses': ('s3://bucket/a.mp4 3', ('s3://bucket/a.mp4', 3)),
    'numbers in paths': ('a 5 3', ('a 5', 3)),
    'other scripts': ('видео/克.mp4 3', ('видео/克.mp4', 3)),
    'hash in paths': ('#1/a.mp4 3', ('#1/a.mp4', 3)),
}
ENCODINGS = ('utf-8-sig', 'utf-16', 'utf-16-le', 'utf-32', 'latin-1')
ARGUMENTS: tuple[dict[str, Any], ...] = (
    dict(num_repeats=0),
    dict(num_repeats=-1),
    dict(delimiter=';'),
    dict(check_files='yes'),
    dict(class_splits=(5, 5)),
    dict(classes=['a', 'b']),
    dict(num_classes=2),
)
KINDS = [*SAME, *WRONG, *OTHER, 'line ends', 'encodings', 'arguments', 'missing file', *BYTE_MUTATIONS]


def video_list(draw: random.Random, folder: Path) -> Case:
    """Write a mutated list."""
    path, kind, lines = folder / 'list.txt', draw.choice(KINDS), plain()
    expected, arguments, encoding, end = ENTRIES, {}, 'utf-8', '\n'
    if kind in OTHER:
        text, entry = OTHER[kind]
        lines, expected = [*lines, text], [*ENTRIES, entry]
    elif kind == 'line ends':
        end = draw.choice(['\r\n', '\r', '\n\n'])
    elif kind == 'encodings':
        encoding, lines = draw.choice(ENCODINGS), [line.replace('clip', 'clïp') for line in lines]
        expected = [(path.replace('clip', 'clïp'), label) for path, label in ENTRIES]
    elif kind == 'arguments':
        arguments, expected = draw.choice(ARGUMENTS), []
    elif kind in SAME | WRONG:
        (SAME | WRONG)[kind](draw, lines)
        expected = ENTRIES if kind in SAME else []
    path.write_bytes(end.join(lines).encode(encoding))
    if kind in BYTE_MUTATIONS:
        mutate_bytes(draw, path, kind)
    elif kind == 'missing file':
        path.unlink()
        if draw.random() < 0.5:
            path.mkdir()

    def run() -> tuple[str, str]:
        try:
            options = dict(num_classes=CLASSES, check_files='none') | arguments
            dataset = VideoListDataset(str(path), pipeline=[], **options)
            found = [(info['filename'], info['label']) for info in map(dataset.get_data_info, range(len(dataset)))]
        except (ValueError, OSError) as error:
            named = any(word in str(error) for word in (path.name, *arguments))
            return 'clear error' if named else 'unclear error', repr(error)
        return ('ok' if found == expected else 'silent'), f'{found}'

    return Case('video list', kind, run)
