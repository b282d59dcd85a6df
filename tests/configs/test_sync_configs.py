"""The configs of a group have one body, and tools/sync_configs.py keeps it so."""

import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest
from resolved import CONFIG_DIR, ROOT, SYNC

TOOL = ROOT / 'tools' / 'sync_configs.py'
NAMES = ('swin3d_t_k400', 'swin3d_s_k400', 'swin3d_b_ssv2')


@pytest.fixture
def main(tmp_path: Path) -> Any:
    """The tool, beside three configs of two groups."""
    for folder in ('tools', 'configs'):
        (tmp_path / folder).mkdir()
    for name in NAMES:
        shutil.copy(CONFIG_DIR / f'{name}.py', tmp_path / 'configs')
    return runpy.run_path(str(shutil.copy(TOOL, tmp_path / 'tools')))['main']


def test_bodies_of_a_group_are_identical() -> None:
    assert SYNC['main'](['--check']) is None


@pytest.mark.parametrize('folder', ['.', 'detection', 'pose'])
def test_every_config_has_the_body_of_a_group(folder: str) -> None:
    for path in (CONFIG_DIR / folder).glob('*.py'):
        SYNC['split'](path)


def test_a_body_is_copied_to_its_group_alone(main: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny, small, other = (tmp_path / 'configs' / f'{name}.py' for name in NAMES)
    before = small.read_text(), other.read_text()
    tiny.write_text(tiny.read_text().replace("pool='avg'", "pool='none'"))
    assert main(['--check']).splitlines() == [
        'The bodies of swin3d_kinetics differ: swin3d_s_k400.py against swin3d_t_k400.py',
        'Copy the right body: python tools/sync_configs.py FILE',
    ]
    assert main([str(tiny)]) is None and main(['--check']) is None
    assert capsys.readouterr().out == f'changed {small}\n'
    assert (small.read_text(), other.read_text()) == (before[0].replace("pool='avg'", "pool='none'"), before[1])


def test_a_config_without_a_body_is_named(main: Any, tmp_path: Path) -> None:
    path = tmp_path / 'configs' / 'mine.py'
    path.write_text('model = dict()\n')
    with pytest.raises(ValueError, match='mine.py: no line "# Body of GROUP: ..."; start from a config of its group'):
        main([str(path)])


def test_lines_to_edit() -> None:
    """A recipe of one's own is easy to find among few lines."""
    table = dict(line.rsplit(maxsplit=1) for line in SYNC['describe']().splitlines())
    assert int(table['all of configs/']) <= 4500
