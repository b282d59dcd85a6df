"""What the tests of hooks share; ``toy`` is imported from this folder."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(autouse=True, scope='module')
def _own_scope(own_scope: None) -> None:
    """Runners of these tests leave the registries' default scope as it was."""
