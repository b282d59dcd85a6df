"""Tests of detection and pose run in .venv-dense, with a full mmcv, mmdet and mmpose."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from vidtx_mm.demo.figures import FiguresSpec, make_figures

HERE = Path(__file__).parent
ABSENT = [name for name in ('mmcv._ext', 'mmdet', 'mmpose') if find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if ABSENT:
        skip = pytest.mark.skip(reason=f'{", ".join(ABSENT)} not installed: run `make test-dense`')
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope='session')
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated COCO data set of 16 training and 4 validation images."""
    root = tmp_path_factory.mktemp('figures')
    make_figures(root, FiguresSpec(train=16, val=4, size=96))
    return root
