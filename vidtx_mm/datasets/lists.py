"""Lines of the form 'path label', as text."""

import re
from functools import cache

from mmengine.fileio import exists, get

DELIMITERS = {'\t': r'\s*\t\s*', ',': r'\s*,\s*', ' ': r'\s+'}


def read_lines(path: str) -> list[tuple[int, str]]:
    """Return (line number, text) of a UTF-8 list, without empty lines and comments ('#' alone, or before a space).

    Raises ``FileNotFoundError``, or ``ValueError`` for another encoding, with file and line.
    """
    if not exists(path):
        raise FileNotFoundError(f'{path}: no such list; set ann_file (and data_root) of this data set')
    data = get(path)
    try:
        text = data.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = data.count(b'\n', 0, error.start) + 1
        raise ValueError(
            f'{path} line {line} is not UTF-8 (byte {data[error.start]:#04x}); convert the list, for instance with: '
            'iconv -f latin1 -t utf-8 (utf-16 where it comes from a Windows editor)'
        ) from error
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), start=1))
    return [(number, line) for number, line in lines if line and line != '#' and not line.startswith('# ')]


def parse_line(line: str, delimiter: str, num_labels: int | None) -> tuple[str, list[int]] | None:
    """Split 'path label ...' at the right end, so that a path may hold the delimiter; ``None`` where it does not fit.

    ``num_labels=None`` takes all whole numbers at the end. 'auto' tries tab, comma and space, in this order.
    """
    for separator in DELIMITERS if delimiter == 'auto' else [delimiter]:
        if separator in line or separator == ' ':
            match = _pattern(separator, num_labels).fullmatch(line)
            if match:
                return match[1].strip('" '), [int(label) for label in match[2].replace(separator, ' ').split()]
    return None


@cache
def _pattern(delimiter: str, num_labels: int | None) -> re.Pattern[str]:
    separator = DELIMITERS[delimiter]
    path, count = (r'.+?', '+') if num_labels is None else (r'.*\S', f'{{{num_labels}}}')
    return re.compile(rf'({path})((?:{separator}-?\d+){count})')
