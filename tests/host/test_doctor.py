"""The doctor on this installation, on a bare interpreter, and on installations with one fault."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sites import ROOT, site_without

from vidtx_mm import probes
from vidtx_mm.compat import REPAIRS
from vidtx_mm.doctor import CAPABILITIES, OPERATORS, Capability, check, cv2_note, find_problem, main, require

RunPython = Callable[..., subprocess.CompletedProcess[str]]
DOCTOR = ROOT / 'tools/doctor.py'
BY_NAME = {capability.name: capability for capability in CAPABILITIES}

GOOD = {
    'vidtx-mm': '0.1.0',
    'torch': '2.13.0+cpu',
    'mmengine': '0.10.7',
    'mmaction2': '1.2.0',
    'importlib-metadata': '8.0',
    'av': '18.1.0',
    'einops': '0.8.1',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmpose': '1.3.2',
    'json-tricks': '3.17',
    'munkres': '1.1.4',
    'six': '1.17.0',
    'xtcocotools': '1.14.3',
    'mmsegmentation': '1.2.2',
    'ftfy': '6.3.1',
    'regex': '2026.11.15',
    'mmpretrain': '1.2.0',
}


def problems(name: str, versions: dict[str, str]) -> list[str]:
    return [text for row in BY_NAME[name].requirements if (text := find_problem(row, versions))]


def test_here(run_python: RunPython, tmp_path: Path) -> None:
    """From an unrelated folder: recognition works, and every fault is listed."""
    done = run_python([DOCTOR], tmp_path)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert 'bug report' in lines[0]
    for row in REPAIRS:
        assert any(line.split()[:1] == [row.name] for line in lines), row.name
    assert ['recognition', 'yes'] in [line.split() for line in lines]
    assert 'Traceback' not in done.stdout


def test_as_a_module_with_a_repair_off(run_python: RunPython, tmp_path: Path) -> None:
    """Recognition fails without the placeholder for DRN: exit code 1, and a traceback."""
    (drn,) = (row for row in REPAIRS if row.name == 'drn')
    if not drn.detect():
        pytest.skip('this mmaction2 has the localizer DRN')
    done = run_python(['-m', 'vidtx_mm.doctor'], tmp_path, {'VIDTX_MM_NO_REPAIR': 'drn'})
    assert done.returncode == 1
    assert ['drn', 'disabled'] in [line.split() for line in done.stdout.splitlines()]
    assert "ModuleNotFoundError: No module named 'mmaction.models.localizers.drn'" in done.stdout
    assert 'Recognition does not work: see recognition.' in done.stdout


def test_bare_python_from_a_clone(run_python: RunPython, tmp_path: Path) -> None:
    """Without any package: no traceback, a command for each requirement, exit code 1."""
    done = run_python(['-S', DOCTOR], tmp_path)
    assert done.returncode == 1
    assert 'Traceback' not in done.stdout
    for needed in ('pip install -e ".[recognition]"', '"torch>=2.4', '"mmaction2>=1.2', 'mmcv-lite==2.1.0', '"av>=17'):
        assert needed in done.stdout, needed


@pytest.mark.parametrize(
    'absent, lines',
    [
        ('mmaction', ['mmaction2 is not installed', 'pip install "mmaction2>=1.2,<2"']),
        ('torch', ['torch is not installed', 'pip install "torch>=2.4,<3"']),
        ('importlib_metadata', ['pip install importlib_metadata', 'importlib_metadata is not installed']),
        ('cv2', ['cv2 is not installed, so no test clip can be written']),
    ],
)
def test_one_package_absent(absent: str, lines: list[str], run_python: RunPython, tmp_path: Path) -> None:
    site = site_without(tmp_path, absent)
    done = run_python(['-S', '-m', 'vidtx_mm.doctor'], tmp_path, {'PYTHONPATH': str(site)})
    assert done.returncode == 1
    found = [line.strip() for line in done.stdout.splitlines()]
    for line in lines:
        assert any(line in entry for entry in found), done.stdout


def test_complete_installation_has_no_problems() -> None:
    for name in ('recognition', 'detection', 'pose'):
        assert problems(name, GOOD) == []


@pytest.mark.parametrize(
    'capability, change, expected',
    [
        ('recognition', {'mmcv-lite': '2.1.0'}, 'mmcv and mmcv-lite are both installed and overwrite each other'),
        ('detection', {'mmcv-lite': '2.1.0'}, 'mmcv and mmcv-lite are both installed and overwrite each other'),
        ('recognition', {'mmcv': '2.2.0'}, 'mmcv 2.2.0 is too new: a version below 2.2 is needed'),
        ('recognition', {'mmcv': None}, 'mmcv or mmcv-lite is not installed'),
        ('recognition', {'torch': '2.0.1'}, 'torch 2.0.1 is too old: 2.4 or newer is needed'),
        ('recognition', {'mmengine': '0.8.5'}, 'mmengine 0.8.5 is too old: 0.10.7 or newer is needed'),
        ('detection', {'mmcv': None, 'mmcv-lite': '2.1.0'}, 'mmcv is not installed'),
        ('detection', {'mmdet': None}, 'mmdet is not installed'),
        ('detection', {'mmdet': '2.28.2'}, 'mmdet 2.28.2 is too old: 3.3 or newer is needed'),
        ('pose', {'mmpose': '0.29.0'}, 'mmpose 0.29.0 is too old: 1.3.2 or newer is needed'),
        ('segmentation', {'mmsegmentation': None}, 'mmsegmentation is not installed'),
        ('segmentation', {'mmsegmentation': '0.30.0'}, 'mmsegmentation 0.30.0 is too old: 1.2.2 or newer is needed'),
        ('segmentation', {'ftfy': None}, 'ftfy is not installed'),
        ('image classification', {'mmpretrain': None}, 'mmpretrain is not installed'),
        ('image classification', {'mmpretrain': '1.0.2'}, 'mmpretrain 1.0.2 is too old: 1.2 or newer is needed'),
    ],
)
def test_wrong_versions(capability: str, change: dict[str, str | None], expected: str) -> None:
    versions = {name: version for name, version in (GOOD | change).items() if version}
    assert expected in problems(capability, versions)


@pytest.mark.parametrize(
    'versions, note',
    [
        ({'opencv-python': '4.11'}, None),
        ({'opencv-python': '4.11', 'opencv-contrib-python': '4.11', 'torch': '2.1'}, 'their versions agree'),
        ({'opencv-python': '4.11', 'opencv-python-headless': '4.9'}, 'install the same version of each'),
    ],
)
def test_distributions_that_share_cv2(versions: dict[str, str], note: str | None) -> None:
    found = cv2_note(versions)
    assert found is None if note is None else found is not None and note in found


def test_release_candidates_count_as_their_release() -> None:
    assert find_problem(require('a', '2.1', '3'), {'a': '2.1.0rc1'}) is None
    assert (
        find_problem(require('a', '2.1', '3'), {'a': '3.0.0rc1'})
        == 'a 3.0.0rc1 is too new: a version below 3 is needed'
    )


def test_mmcv_without_operators_gets_the_command() -> None:
    """The distribution is installed without its library; the probe notices."""

    def no_operators() -> str:
        raise ModuleNotFoundError("No module named 'mmcv._ext'")

    works, lines, trace = check(
        Capability('detection', BY_NAME['detection'].requirements, no_operators, OPERATORS), GOOD
    )
    assert not works
    assert lines == ["ModuleNotFoundError: No module named 'mmcv._ext'", f'  {OPERATORS}']
    assert 'no_operators' in trace


def test_an_undeclared_dependency_names_its_command() -> None:
    """mmpose imports six without declaring it."""

    def imports_it() -> str:
        raise ModuleNotFoundError("No module named 'not_there'", name='not_there.moves')

    works, lines, _ = check(Capability('pose', (), imports_it, OPERATORS), {})
    assert (works, lines[1]) == (False, '  pip install not_there')


def test_a_decoder_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str) -> int:
        raise RuntimeError('no codec')

    monkeypatch.setattr(probes, 'DECODERS', {'decord': broken, 'OpenCV': probes.DECODERS['OpenCV']})
    assert probes.decoders() == 'decord fails (RuntimeError: no codec), OpenCV reads 8 of 8 frames'
    monkeypatch.setattr(probes, 'DECODERS', {'decord': broken})
    with pytest.raises(probes.Unavailable, match='no codec'):
        probes.decoders()


def test_exit_code_ignores_optional_capabilities(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fine() -> str:
        return 'fine'

    def broken() -> str:
        raise RuntimeError('broken')

    monkeypatch.setattr(
        'vidtx_mm.doctor.CAPABILITIES', (Capability('a', (), fine, '', True), Capability('b', (), broken, ''))
    )
    assert main() == 0
    monkeypatch.setattr(
        'vidtx_mm.doctor.CAPABILITIES', (Capability('a', (), broken, '', True), Capability('b', (), fine, ''))
    )
    assert main() == 1
    assert 'Recognition does not work: see a.' in capsys.readouterr().out
