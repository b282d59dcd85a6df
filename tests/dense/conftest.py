"""Detection and pose need a full mmcv, mmdet and mmpose: these tests run with the Python of .venv-dense."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from vidtx_mm.demo.figures import FiguresSpec, make_figures

HERE = Path(__file__).parent
ABSENT = [name for name in ('mmcv._ext', 'mmdet', 'mmpose') if find_spec(name) is None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if ABSENT:
        skip = pytest.mark.skip(reason=f'no {", ".join(ABSENT)} here; `make test-dense` runs these elsewhere')
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(skip)


@pytest.fixture(scope='session')
def figures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated data set in COCO's format: 16 images to train on, 4 to validate on."""
    root = tmp_path_factory.mktemp('figures')
    make_figures(root, FiguresSpec(train=16, val=4, size=96))
    return root
