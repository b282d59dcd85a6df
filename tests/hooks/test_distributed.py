"""Two processes of four clips against one of eight: the table of docs/reliability.md.

``pytest -s tests/hooks/test_distributed.py`` prints it.
"""

import multiprocessing
import re
import socket
from pathlib import Path

import ddp_model
import pytest
import torch

PAGE = Path(__file__).parents[2] / 'docs/reliability.md'


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of two processes."""
    folder = tmp_path_factory.mktemp('ddp')
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context('spawn')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PYTHONPATH', str(Path(__file__).parent))
        processes = [context.Process(target=ddp_model.worker, args=(folder, rank, port)) for rank in (0, 1)]
        for process in processes:
            process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    return folder


@pytest.fixture(scope='module')
def differences(folder: Path) -> dict[str, float]:
    """Family -> largest difference of a weight or running statistic after four steps."""
    one = {row: ddp_model.train(row) for row in ddp_model.ROWS}
    two = torch.load(folder / 'two.pth')
    return {row: ddp_model.difference(state, two[row]) for row, state in one.items()}


def test_families_without_batchnorm_agree(differences: dict[str, float]) -> None:
    for row, difference in differences.items():
        print(f'{row:<24} {difference:.1e}')
    assert max(value for row, value in differences.items() if not row.startswith('uniformer')) < 1e-5


def test_uniformer_differs_by_its_batchnorm_alone(differences: dict[str, float]) -> None:
    assert differences['uniformer, norm_eval'] < 1e-5
    assert differences['uniformer, shared statistics'] < 1e-5
    assert differences['uniformer'] > 1e-4


def test_page_has_every_row(differences: dict[str, float]) -> None:
    rows = re.findall(r'^\| `([a-z, _-]+)` \| \d\.\de-\d+ \|', PAGE.read_text(encoding='utf-8'), flags=re.MULTILINE)
    assert rows == list(differences)


@pytest.mark.parametrize('case', ddp_model.CASES, ids=str)
def test_settings_of_the_recipes(folder: Path, case: ddp_model.Case) -> None:
    """No parameter is unused, and gradients in the buckets, accumulation and checkpointing change no weight."""
    without, change = torch.load(folder / 'recipes.pth')[case.name]
    assert without == []
    assert change < 1e-6
