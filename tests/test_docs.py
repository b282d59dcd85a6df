"""Links, files and commands in the pages exist."""

import re
from pathlib import Path
from typing import Any

import pytest

from vidtx_mm.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob('*.md'), *(ROOT / 'docs').glob('*.md')]
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.+)$', re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page as GitHub makes them from its headings."""
    headings = HEADING.findall(page.read_text(encoding='utf-8'))
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    broken = []
    for link in LINK.findall(page.read_text(encoding='utf-8')):
        path, _, anchor = link.partition('#')
        if '://' in path:
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or anchor and anchor not in anchors(target):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_named_files_exist(page: Path) -> None:
    """Code spans that start with a folder of the repository."""
    spans = re.findall(r'`((?:docs|tests|tools|vidtx_mm)/[\w./-]+\.\w+)`', page.read_text(encoding='utf-8'))
    assert not [span for span in spans if not (ROOT / span).exists()]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    text = page.read_text(encoding='utf-8')
    names = re.findall(r'(?:^|`|\$ )(?:vidtx|python -m vidtx_mm|mim run vidtx_mm) ([a-z][\w-]+)', text, re.MULTILINE)
    assert set(names) <= set(COMMANDS)


def test_python_of_the_front_page() -> None:
    """The shapes in its comments are those of the values."""
    text = (ROOT / 'README.md').read_text(encoding='utf-8')
    (code,) = re.findall(r'^```python\n(import torch\n.*?)^```', text, re.MULTILINE | re.DOTALL)
    values: dict[str, Any] = {}
    exec(code, values)
    assert tuple(values['scores'].shape) == (1, 400)
    assert '# (1, 400)' in code
    assert f'# {", ".join(str(tuple(feature.shape)) for feature in values["maps"])}' in code
