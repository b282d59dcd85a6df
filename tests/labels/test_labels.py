"""Class lists: their lengths, places that tell one order from another, and what else ``classes`` may be."""

from pathlib import Path

import pytest

from vidtx_mm.labels import JOINED, LISTS, class_names


@pytest.mark.parametrize(
    ('name', 'count', 'places'),
    [
        ('kinetics400', 400, {0: 'abseiling', 116: 'eating spaghetti', 399: 'zumba'}),
        ('kinetics600', 600, {0: 'abseiling', 599: 'zumba'}),
        ('kinetics700', 700, {0: 'abseiling', 699: 'zumba'}),
        ('kinetics710', 710, {}),
        ('sthv1', 174, {}),
        ('sthv2', 174, {5: 'Closing something', 41: 'Moving something away from the camera'}),
        ('ucf101', 101, {34: 'Hammering', 35: 'HammerThrow', 46: 'JumpingJack', 47: 'JumpRope'}),
        ('hmdb51', 51, {0: 'brush_hair', 50: 'wave'}),
        ('epic_kitchens100_noun', 300, {0: 'tap'}),
        ('epic_kitchens100_verb', 97, {0: 'take'}),
        ('epic_kitchens100', 397, {0: 'tap', 300: 'take'}),
        ('imagenet1k', 1000, {0: 'tench', 134: 'crane bird', 639: 'maillot tank suit'}),
    ],
)
def test_lists(name: str, count: int, places: dict[int, str]) -> None:
    names = class_names(name)
    assert len(names) == count and all(name == name.strip() != '' for name in names)
    assert {place: names[place] for place in places} == places
    assert len(set(names)) == count or name in JOINED


def test_every_list_is_tested() -> None:
    cases = test_lists.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {name for name, *_ in cases} == {*LISTS, *JOINED}


def test_files_and_lists_of_names(tmp_path: Path) -> None:
    file = tmp_path / 'classes.txt'
    file.write_text('clap\nbrush hair\n', encoding='utf-8')
    assert class_names(file) == class_names(str(file)) == class_names(['clap', 'brush hair']) == ('clap', 'brush hair')


@pytest.mark.parametrize(
    ('classes', 'message'),
    [
        ('kinetics40', 'did you mean kinetics400 or'),
        ('nothing like it', 'one of epic_kitchens100_noun'),
        (['a', 'b', 'a'], "class 2 repeats the name 'a'"),
        (['a', ' '], "class 1 is ' '"),
        ([], 'no class names'),
    ],
)
def test_bad_lists(classes: str | list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        class_names(classes)


def test_a_missing_file() -> None:
    with pytest.raises(FileNotFoundError, match='classes.txt: no such list'):
        class_names('classes.txt')
