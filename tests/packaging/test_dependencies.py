"""The package declares its imports, and the pins satisfy its declarations."""

import ast
import re
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from vidtx_mm.doctor import CAPABILITIES

ROOT = Path(__file__).resolve().parents[2]

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']


def normal(requirement: str) -> str:
    """Return the normalized project name of a requirement."""
    return re.sub(r'[-_.]+', '-', re.split(r'[ \[<>=!~;(]', requirement.strip(), maxsplit=1)[0]).lower()


DECLARED = {normal(line) for line in PROJECT['dependencies']}
DEV = {normal(line) for line in PROJECT['optional-dependencies']['dev']}
# What the host brings, by its own word; mmcv is the user's choice of the extras.
HOST = {normal(line) for name in ('mmengine', 'mmaction2') for line in requires(name) or () if 'extra ==' not in line}


def pins(file: str) -> dict[str, str]:
    """Return versions by project name; the last line wins if several Python versions have their own."""
    lines = (ROOT / file).read_text(encoding='utf-8').splitlines()
    pairs = (line.split(';')[0].strip().split('==') for line in lines if line and not line.startswith('#'))
    return {normal(name): version for name, version in pairs}


PINS = pins('constraints.txt')
DENSE_PINS = PINS | pins('constraints-dense.txt')


BENCHMARK = ROOT / 'vidtx_mm' / 'benchmark'  # a developer's command: it may import its references


def third_party_modules(files: Iterable[Path]) -> set[str]:
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition('.')[0])
    return found - set(sys.stdlib_module_names) - {'vidtx_mm', 'mmcv'}


FILES = set((ROOT / 'vidtx_mm').rglob('*.py')) - {ROOT / 'vidtx_mm/heads/image_head.py'}  # for mmpretrain, an extra
# They name the extra that they need.
COMMAND_FILES = {*BENCHMARK.rglob('*.py'), ROOT / 'vidtx_mm/apis/export.py', ROOT / 'vidtx_mm/weights/hub.py'}


def owners(module: str) -> set[str]:
    return {normal(name) for name in packages_distributions()[module]}


@pytest.mark.parametrize('module', sorted(third_party_modules(FILES - COMMAND_FILES)))
def test_imports_are_declared(module: str) -> None:
    assert owners(module) & (DECLARED | HOST), f'vidtx_mm imports {module}, which no declared dependency brings'


@pytest.mark.parametrize('module', sorted(third_party_modules(COMMAND_FILES)))
def test_imports_of_commands_with_extras_are_declared(module: str) -> None:
    assert owners(module) & (DECLARED | HOST | DEV), f'a command imports {module}, which no extra brings'


def test_no_install_compiles() -> None:
    extras = {normal(line) for lines in PROJECT['optional-dependencies'].values() for line in lines}
    assert 'mmcv' not in DECLARED | extras
    assert 'mmcv-lite' in extras


@pytest.mark.parametrize('extra', ['', 'recognition', 'dev', 'dense'])
def test_packages_of_setup_are_pinned(extra: str) -> None:
    """The pins lie in the declared ranges."""
    wanted = PROJECT['optional-dependencies'][extra] if extra else PROJECT['dependencies']
    pinned = DENSE_PINS if extra == 'dense' else PINS
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[normal(requirement.name)]), requirement


def test_the_remedy_for_numpy_2_has_the_ranges_of_the_extra() -> None:
    """The doctor's command for an environment with newer versions has the ranges of the extra."""
    (pose,) = (capability for capability in CAPABILITIES if capability.name == 'pose')
    held = [line for line in PROJECT['optional-dependencies']['dense'] if '<' in line and '>' not in line]
    assert pose.command == 'pip install ' + ' '.join(f'"{line}"' for line in held)
