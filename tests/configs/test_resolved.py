"""Every config of recognition and of the demo means what the goldens say; tests/dense holds the others."""

from pathlib import Path

import pytest
from resolved import CONFIG_DIR, golden, group, resolved

import vidtx_mm  # noqa: F401

PATHS = sorted([*CONFIG_DIR.glob('*.py'), *CONFIG_DIR.glob('demo/*.py')])


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_resolved_config_equals_its_golden(path: Path) -> None:
    assert resolved(path) == golden(group(path)).get(path.stem), 'meant? then run tests/goldens/resolved.py'
