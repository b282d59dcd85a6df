"""Class names by index: one list per data set, line i (counted from 0) is class i.

Sources: mmaction2 ``tools/data`` (Kinetics, Something-Something, UCF101, HMDB51), EPIC-Kitchens-100's
``EPIC_100_{noun,verb}_classes.csv``, mmpretrain ``datasets/categories.py`` (ImageNet). The published heads have this
order, or ``vidtx_mm.weights`` brings them to it.
"""

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent
LISTS = tuple(sorted(file.stem for file in _FOLDER.glob('*.txt')))
JOINED = {'epic_kitchens100': ('epic_kitchens100_noun', 'epic_kitchens100_verb')}  # heads with several label sets


def class_names(classes: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return the class names that a config's ``classes`` stands for.

    Args:
        classes: a name of ``LISTS`` or ``JOINED`` ('kinetics400'), a text file with one name a line, or the names.

    Raises:
        ValueError: for an unknown name, an empty or repeated class, or a file that is no such list.
        FileNotFoundError: if a path does not exist.
    """
    if isinstance(classes, str) and classes in JOINED:
        return tuple(name for part in JOINED[classes] for name in class_names(part))
    if isinstance(classes, str) and classes in LISTS:
        return _read(_FOLDER / f'{classes}.txt')
    if isinstance(classes, str | Path):
        path = Path(classes)
        if path.is_file():
            return _checked(_read(path), str(path))
        if path.suffix or isinstance(classes, Path):
            raise FileNotFoundError(f'{path}: no such list of class names')
        raise ValueError(f'classes={classes!r}: unknown class list; {suggest(classes, (*LISTS, *JOINED))}')
    return _checked(tuple(classes), 'classes')


def suggest(word: str, known: Sequence[str]) -> str:
    """Return 'did you mean ...?' with the names nearest to a word, or all of them where none is near."""
    near = get_close_matches(word, known, n=3, cutoff=0.5)
    return f'did you mean {" or ".join(near)}?' if near else f'choose one of {", ".join(known)}'


def _read(path: Path) -> tuple[str, ...]:
    return tuple(path.read_text(encoding='utf-8').splitlines())


def _checked(names: tuple[str, ...], where: str) -> tuple[str, ...]:
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f'{where}: class {index} is {name!r}; give a name for each class, one a line')
        if name in seen:
            raise ValueError(f'{where}: class {index} repeats the name {name!r}; names must differ')
        seen.add(name)
    if not names:
        raise ValueError(f'{where} holds no class names')
    return names
