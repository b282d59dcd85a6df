"""The package declares what it imports, and the pins agree with what it declares."""

import ast
import re
import sys
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']


def normal(requirement: str) -> str:
    """The normalised project name of a requirement."""
    return re.sub(r'[-_.]+', '-', re.split(r'[ \[<>=!~;(]', requirement.strip(), maxsplit=1)[0]).lower()


DECLARED = {normal(line) for line in PROJECT['dependencies']}
# What the host brings, by its own word; mmcv is the user's choice of the extras.
HOST = {normal(line) for name in ('mmengine', 'mmaction2') for line in requires(name) or () if 'extra ==' not in line}
PINS = dict(
    line.split(';')[0].strip().split('==')
    for line in (ROOT / 'constraints.txt').read_text(encoding='utf-8').splitlines()
    if line and not line.startswith('#')
)


def third_party_modules() -> set[str]:
    found = set()
    for file in (ROOT / 'vidtx_mm').rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition('.')[0])
    return found - set(sys.stdlib_module_names) - {'vidtx_mm', 'mmcv'}


@pytest.mark.parametrize('module', sorted(third_party_modules()))
def test_imports_are_declared(module: str) -> None:
    owners = {normal(name) for name in packages_distributions()[module]}
    assert owners & (DECLARED | HOST), f'vidtx_mm imports {module} ({owners}), which no declared dependency brings'


def test_no_install_compiles() -> None:
    extras = {normal(line) for lines in PROJECT['optional-dependencies'].values() for line in lines}
    assert 'mmcv' not in DECLARED | extras
    assert 'mmcv-lite' in extras


@pytest.mark.parametrize('extra', ['', 'recognition', 'dev'])
def test_what_setup_installs_is_pinned(extra: str) -> None:
    wanted = PROJECT['optional-dependencies'][extra] if extra else PROJECT['dependencies']
    assert {normal(line) for line in wanted} <= {normal(name) for name in PINS}
