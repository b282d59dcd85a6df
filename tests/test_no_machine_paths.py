"""No file of the repository contains a path of a particular machine."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MACHINE = re.compile(r'(?<![\w.])/(?:home|root|Users|work|mnt|opt|workspace)/\w|[A-Z]:\\Users', re.ASCII)


def kept_files() -> list[Path]:
    listed = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip('not a git checkout')
    return [ROOT / name for name in listed.stdout.split('\0') if name and (ROOT / name).is_file()]


def test_the_pattern_sees_such_paths() -> None:
    assert MACHINE.search('see "/home' + '/me/data"')
    assert not MACHINE.search('https://example.org/work' + '/shared, data/work' + '/x')


def test_no_file_names_a_machine_path() -> None:
    files = kept_files()
    assert ROOT / 'pyproject.toml' in files
    hits = []
    for file in files:
        try:
            text = file.read_text(encoding='utf-8')
        except UnicodeDecodeError:  # an image or a clip
            continue
        hits += [
            f'{file.relative_to(ROOT)}:{n}: {line[:100]}'
            for n, line in enumerate(text.splitlines(), 1)
            if MACHINE.search(line)
        ]
    assert not hits, '\n'.join(hits)
