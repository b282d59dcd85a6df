"""tools/install_mmcv.py uses a working wheel, or compiles one, shows its progress and keeps it."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / 'tools/install_mmcv.py'
WHEEL = 'mmcv-2.1.0-cp311-cp311-linux_x86_64.whl'
# Fake pip: `install` logs its argument, `wheel` prints the progress of ninja and writes a file.
FAKE_PIP = f"""
import sys
from pathlib import Path
if 'install' in sys.argv:
    with open('installed', 'a') as log:
        log.write(sys.argv[-1] + '\\n')
elif 'wheel' in sys.argv:
    print('  [1/77] c++ -c a.cpp\\n  [2/77] c++ -c b.cpp')
    if Path('broken').exists():
        sys.exit('fatal error: torch/extension.h: No such file')
    Path(sys.argv[sys.argv.index('-w') + 1], '{WHEEL}').write_bytes(bytes(10))
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location('install_mmcv', TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / 'pip.py').write_text(FAKE_PIP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, 'PIP', [sys.executable, 'pip.py'])
    monkeypatch.setattr(module.shutil, 'which', lambda name: f'/bin/{name}')
    monkeypatch.setattr(sys, 'argv', ['install_mmcv.py', '--cache', 'cache'])
    return module


def working(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *wanted: str) -> None:
    """Make the operators work if the name of the last installation ends with one of these."""

    def run(version: str) -> bool:
        log = Path('installed')
        return log.exists() and log.read_text().splitlines()[-1].endswith(wanted)

    monkeypatch.setattr(module, 'operators_run', run)


def test_a_working_installation_is_left_alone(tool, monkeypatch, capsys):
    monkeypatch.setattr(tool, 'operators_run', lambda version: True)
    tool.main()
    assert 'its operators work' in capsys.readouterr().out
    assert not Path('installed').exists()


def test_a_working_wheel_is_used(tool, monkeypatch, capsys):
    working(tool, monkeypatch, 'mmcv==2.1.0')
    tool.main()
    assert capsys.readouterr().out == 'mmcv 2.1.0 with operators is installed\n'


def test_otherwise_it_is_compiled_and_kept(tool, monkeypatch, capsys):
    """A wheel for another torch installs, but its operators fail. The second run compiles nothing."""
    working(tool, monkeypatch, '.whl')
    tool.main()
    out = capsys.readouterr().out
    assert 'compiling, 7 to 18 minutes on two cores' in out
    assert 'mmcv: file 1 of 77' in out and 'mmcv: file 2 of 77' in out
    (kept,) = Path('cache').glob(f'torch-*/{WHEEL}')
    assert str(kept) in out
    Path('installed').unlink()
    tool.main()
    assert capsys.readouterr().out == 'mmcv 2.1.0 with operators is installed\n'
    assert Path('installed').read_text().splitlines() == [str(kept)]


def test_a_failed_compilation_shows_the_error(tool, monkeypatch):
    working(tool, monkeypatch, '.whl')
    Path('broken').touch()
    with pytest.raises(SystemExit, match=r'torch/extension.h(?s:.*)failed to compile'):
        tool.main()


def test_a_missing_compiler_is_named(tool, monkeypatch):
    working(tool, monkeypatch, '.whl')
    monkeypatch.setattr(tool.shutil, 'which', lambda name: None)
    with pytest.raises(SystemExit, match='apt-get install build-essential'):
        tool.main()


def test_wheels_are_kept_per_torch_and_python(tool, monkeypatch):
    working(tool, monkeypatch, '.whl')
    monkeypatch.setattr(tool, 'version', lambda name: '2.5.0+cu124')
    tool.main()
    assert Path(f'cache/torch-2.5.0+cu124-{sys.implementation.cache_tag}/{WHEEL}').exists()
