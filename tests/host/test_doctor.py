"""doctor on this installation, on a bare interpreter, and on installations with one thing wrong."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sites import ROOT, site_without

from vidtx_mm import probes
from vidtx_mm.compat import REPAIRS
from vidtx_mm.doctor import ABILITIES, OPERATORS, Ability, complaint, examine, main, need

RunPython = Callable[..., subprocess.CompletedProcess[str]]
DOCTOR = ROOT / 'tools/doctor.py'
BY_NAME = {ability.name: ability for ability in ABILITIES}

GOOD = {
    'vidtx-mm': '0.1.0',
    'torch': '2.13.0+cpu',
    'mmengine': '0.10.7',
    'mmaction2': '1.2.0',
    'importlib-metadata': '8.0',
    'einops': '0.8.1',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmpose': '1.3.2',
    'json-tricks': '3.17',
    'munkres': '1.1.4',
    'six': '1.17.0',
    'xtcocotools': '1.14.3',
}


def complaints(ability: str, versions: dict[str, str]) -> list[str]:
    return [text for need in BY_NAME[ability].needs if (text := complaint(need, versions))]


def test_here(run_python: RunPython, tmp_path: Path) -> None:
    """From an unrelated folder: recognition runs, every fault is listed, the first line asks for a paste."""
    done = run_python([DOCTOR], tmp_path)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert 'bug report' in lines[0]
    for row in REPAIRS:
        assert any(line.split()[:1] == [row.name] for line in lines), row.name
    assert ['recognition', 'yes'] in [line.split() for line in lines]
    assert 'Traceback' not in done.stdout


def test_as_a_module_with_a_repair_off(run_python: RunPython, tmp_path: Path) -> None:
    """Without the stand-in for DRN recognition cannot run where the wheel lacks it: exit code 1, and the traceback."""
    (drn,) = (row for row in REPAIRS if row.name == 'drn')
    if not drn.detect():
        pytest.skip('this mmaction2 has the localizer DRN')
    done = run_python(['-m', 'vidtx_mm.doctor'], tmp_path, {'VIDTX_MM_NO_REPAIR': 'drn'})
    assert done.returncode == 1
    assert ['drn', 'switched', 'off'] in [line.split() for line in done.stdout.splitlines()]
    assert "ModuleNotFoundError: No module named 'mmaction.models.localizers.drn'" in done.stdout
    assert 'Recognition cannot run: recognition missing.' in done.stdout


def test_bare_python_from_a_clone(run_python: RunPython, tmp_path: Path) -> None:
    """With no package at all, not even this one: no traceback, a command for everything, exit code 1."""
    done = run_python(['-S', DOCTOR], tmp_path)
    assert done.returncode == 1
    assert 'Traceback' not in done.stdout
    for needed in ('pip install -e ".[recognition]"', '"torch>=2.1', '"mmaction2>=1.2', 'mmcv-lite==2.1.0', 'decord'):
        assert needed in done.stdout, needed


@pytest.mark.parametrize(
    'absent, lines',
    [
        ('mmaction', ['mmaction2 is not installed', 'pip install "mmaction2>=1.2,<2"']),
        ('torch', ['torch is not installed', 'pip install "torch>=2.1,<3"']),
        ('importlib_metadata', ['pip install importlib_metadata', 'importlib_metadata is not installed']),
        ('cv2', ['cv2 is not installed: without it no test clip can be written']),
    ],
)
def test_one_package_absent(absent: str, lines: list[str], run_python: RunPython, tmp_path: Path) -> None:
    site = site_without(tmp_path, absent)
    done = run_python(['-S', '-m', 'vidtx_mm.doctor'], tmp_path, {'PYTHONPATH': str(site)})
    assert done.returncode == 1
    found = [line.strip() for line in done.stdout.splitlines()]
    for line in lines:
        assert any(line in entry for entry in found), done.stdout


def test_complete_installation_has_no_complaints() -> None:
    for name in ('recognition', 'detection', 'pose'):
        assert complaints(name, GOOD) == []


@pytest.mark.parametrize(
    'ability, change, expected',
    [
        ('recognition', {'mmcv-lite': '2.1.0'}, 'mmcv and mmcv-lite are both installed and overwrite each other'),
        ('detection', {'mmcv-lite': '2.1.0'}, 'mmcv and mmcv-lite are both installed and overwrite each other'),
        ('recognition', {'mmcv': '2.2.0'}, 'mmcv 2.2.0 is too new: below 2.2'),
        ('recognition', {'mmcv': None}, 'mmcv or mmcv-lite is not installed'),
        ('recognition', {'torch': '2.0.1'}, 'torch 2.0.1 is too old: at least 2.1'),
        ('recognition', {'mmengine': '0.8.5'}, 'mmengine 0.8.5 is too old: at least 0.10.7'),
        ('detection', {'mmcv': None, 'mmcv-lite': '2.1.0'}, 'mmcv is not installed'),
        ('detection', {'mmdet': None}, 'mmdet is not installed'),
        ('detection', {'mmdet': '2.28.2'}, 'mmdet 2.28.2 is too old: at least 3.3'),
        ('pose', {'mmpose': '0.29.0'}, 'mmpose 0.29.0 is too old: at least 1.3.2'),
    ],
)
def test_wrong_versions(ability: str, change: dict[str, str | None], expected: str) -> None:
    versions = {name: version for name, version in (GOOD | change).items() if version}
    assert expected in complaints(ability, versions)


def test_release_candidates_count_as_their_release() -> None:
    assert complaint(need('a', '2.1', '3'), {'a': '2.1.0rc1'}) is None
    assert complaint(need('a', '2.1', '3'), {'a': '3.0.0rc1'}) == 'a 3.0.0rc1 is too new: below 3'


def test_mmcv_without_operators_gets_the_command() -> None:
    """The distribution is there and its library is not: the probe finds out."""

    def no_operators() -> str:
        raise ModuleNotFoundError("No module named 'mmcv._ext'")

    can, lines, trace = examine(Ability('detection', BY_NAME['detection'].needs, no_operators, OPERATORS), GOOD)
    assert not can
    assert lines == ["ModuleNotFoundError: No module named 'mmcv._ext'", f'  {OPERATORS}']
    assert 'no_operators' in trace


def test_an_undeclared_dependency_gets_its_command() -> None:
    """mmpose imports six and does not require it."""

    def imports_it() -> str:
        raise ModuleNotFoundError("No module named 'not_there'", name='not_there.moves')

    can, lines, _ = examine(Ability('pose', (), imports_it, OPERATORS), {})
    assert (can, lines[1]) == (False, '  pip install not_there')


def test_a_decoder_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str) -> int:
        raise RuntimeError('no codec')

    monkeypatch.setattr(probes, 'DECODERS', {'decord': broken, 'OpenCV': probes.DECODERS['OpenCV']})
    assert probes.decoders() == 'decord fails (RuntimeError: no codec), OpenCV reads 8 of 8 frames'
    monkeypatch.setattr(probes, 'DECODERS', {'decord': broken})
    with pytest.raises(probes.Unavailable, match='no codec'):
        probes.decoders()


def test_exit_code_ignores_what_is_optional(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fine() -> str:
        return 'fine'

    def broken() -> str:
        raise RuntimeError('broken')

    monkeypatch.setattr('vidtx_mm.doctor.ABILITIES', (Ability('a', (), fine, '', True), Ability('b', (), broken, '')))
    assert main() == 0
    monkeypatch.setattr('vidtx_mm.doctor.ABILITIES', (Ability('a', (), broken, '', True), Ability('b', (), fine, '')))
    assert main() == 1
    assert 'Recognition cannot run: a missing.' in capsys.readouterr().out
