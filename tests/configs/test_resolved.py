"""Every config of recognition and of the demo means what the goldens say; tests/dense holds the others."""

from pathlib import Path

import pytest
from resolved import CONFIG_DIR, GOLDENS, golden, group, resolved

import vidtx_mm  # noqa: F401

PATHS = sorted([*CONFIG_DIR.glob('*.py'), *CONFIG_DIR.glob('demo/*.py')])


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_resolved_config_equals_its_golden(path: Path) -> None:
    expected = golden(group(path)).get(path.stem)
    assert expected, f'{path.name} has no golden: run tests/goldens/resolved.py'
    assert resolved(path) == expected, 'an intended change? then run tests/goldens/resolved.py'


def test_no_golden_is_left_over() -> None:
    configs = {(group(path), path.stem) for path in CONFIG_DIR.rglob('*.py')}
    left = {(file.stem, stem) for file in GOLDENS.glob('*.json') for stem in golden(file.stem)} - configs
    assert not left, f'remove from tests/goldens/configs (group, config): {sorted(left)}'
