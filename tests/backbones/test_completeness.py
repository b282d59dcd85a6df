"""Each backbone has a contract case, a weight family with sources, and a golden (docs/adding_a_family.md)."""

import re
from pathlib import Path

from cases import CASES

from vidtx_mm import backbones
from vidtx_mm.weights.sources import FAMILIES, SOURCES

ROOT = Path(__file__).resolve().parents[2]
EXPORTED = {name: getattr(backbones, name) for name in backbones.__all__}


def test_each_backbone_is_imported() -> None:
    code = ''.join(file.read_text() for file in (ROOT / 'vidtx_mm/backbones').glob('*.py'))
    defined = set(re.findall(r'@MODELS\.register_module\(\)\nclass (\w+)', code))
    missing = defined - set(EXPORTED)
    assert not missing, f'import {sorted(missing)} in vidtx_mm/backbones/__init__.py and list them in __all__'


def test_each_backbone_has_a_case() -> None:
    missing = set(EXPORTED) - {case.type for case in CASES}
    assert not missing, f'add a row to tests/backbones/cases.py for {sorted(missing)}'


def test_each_family_has_sources() -> None:
    families = {cls.family for cls in EXPORTED.values()}
    missing, unused = families - set(FAMILIES), set(FAMILIES) - families
    assert not missing, f'list a sources file in vidtx_mm/weights/sources/__init__.py for {sorted(missing)}'
    assert not unused, f'no backbone in vidtx_mm/backbones belongs to the weight families {sorted(unused)}'
    empty = set(FAMILIES) - {family for source in SOURCES.values() for family in source.families}
    assert not empty, f'no source has weights of {sorted(empty)}'


def test_each_family_has_a_golden() -> None:
    cases = [path.stem for path in (ROOT / 'tests/goldens/cases').glob('*.json')]
    missing = [name for name in FAMILIES if not any(name.removeprefix('video_') in case for case in cases)]
    assert not missing, f'add a case to tests/goldens/cases for {missing}'
