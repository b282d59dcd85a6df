"""Report installed versions, faults of the host and their repairs, and capabilities; name the command for each gap.

Run ``python tools/doctor.py``, ``python -m vidtx_mm.doctor`` or ``mim run vidtx_mm doctor``. The exit code is 1 if
recognition does not work. Starts with the standard library alone, so that it runs where other imports fail.
"""

import os
import platform
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions

from vidtx_mm import probes
from vidtx_mm.compat import ENV_VAR, REPAIRS, state
from vidtx_mm.repairs.environment import installed
from vidtx_mm.repairs.mmcv import OPERATORS

SHOWN = (
    'vidtx_mm torch torchvision mmengine mmcv mmcv-lite mmaction2 mmdet mmpose mmsegmentation mmpretrain openmim '
    'setuptools numpy opencv-python opencv-contrib-python opencv-python-headless decord eva-decord av einops '
    'importlib_metadata safetensors msgpack transformers timm json-tricks munkres six xtcocotools pandas moviepy ftfy'
).split()


@dataclass(frozen=True)
class Requirement:
    """Exactly one of ``any_of``, with a version in [at_least, below), and none of ``excluded``.

    ``command`` installs it.
    """

    any_of: tuple[str, ...]
    at_least: str
    below: str
    command: str
    excluded: tuple[str, ...] = ()


def require(name: str, at_least: str, below: str, command: str = '') -> Requirement:
    return Requirement((name,), at_least, below, command or f'pip install "{name}>={at_least},<{below}"')


@dataclass(frozen=True)
class Capability:
    """A task to check. ``command`` is the remedy if all requirements are met and the probe fails."""

    name: str
    requirements: tuple[Requirement, ...]
    probe: Callable[[], str]
    command: str
    required: bool = False


LITE = 'pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0'
MIM = 'pip install openmim "setuptools<82" "pandas<3.1"  # pandas 3.1 does not import beside numpy 1'
HOST = (
    require(
        'vidtx_mm',
        '0.1',
        '1',
        'pip install -e ".[recognition]"  # in a checkout; installs the rest too',
    ),
    require('torch', '2.4', '3'),
    require('mmengine', '0.10.7', '1'),
    require('mmaction2', '1.2', '2'),
    require('importlib_metadata', '1', '100'),
    require('av', '17', '100'),
    require('einops', '0.3', '1'),
)
MMCV = Requirement(('mmcv', 'mmcv-lite'), '2.0.1', '2.2', LITE)
DENSE = (HOST[1], HOST[2], Requirement(('mmcv',), '2.0.1', '2.2', OPERATORS, excluded=('mmcv-lite',)))
CAPABILITIES = (
    Capability(
        'recognition',
        (*HOST, MMCV),
        probes.recognition,
        'see the traceback below, and include it in a bug report',
        required=True,
    ),
    Capability('video decoding', (), probes.decoders, 'pip install av opencv-contrib-python', required=True),
    Capability('mim', (require('openmim', '0.3.9', '1'), require('setuptools', '40', '82')), probes.mim, MIM),
    Capability('GPU', (require('torch', '2.4', '3'),), probes.gpu, ''),
    Capability('detection', (*DENSE, require('mmdet', '3.3', '4')), probes.detection, OPERATORS),
    Capability(
        'pose',
        (
            *DENSE,
            require('mmpose', '1.3.2', '2', 'pip install --no-deps mmpose==1.3.2'),
            require('json-tricks', '3', '4'),
            require('munkres', '1', '4'),
            require('six', '1', '2'),  # undeclared by mmpose; mmdet requires it
            require('xtcocotools', '1.14', '2'),
        ),
        probes.pose,
        'pip install "numpy<2" "opencv-python<4.12" "opencv-contrib-python<4.12" "pandas<3.1"',
    ),
    Capability(
        'segmentation',
        (
            *DENSE,
            require('mmsegmentation', '1.2.2', '2'),
            require('ftfy', '6', '7'),  # these two are undeclared by mmsegmentation
            require('regex', '2022', '2100'),
        ),
        probes.segmentation,
        OPERATORS,
    ),
    Capability(
        'image classification',
        (HOST[1], HOST[2], MMCV, require('mmpretrain', '1.2', '2')),
        probes.image_classification,
        'pip install "mmpretrain>=1.2,<2"',
    ),
)


def _key(name: str) -> str:
    return re.sub('[-_.]+', '-', name).lower()


def installed_versions() -> dict[str, str]:
    """Return versions by normalized distribution name; the first on the path wins."""
    found: dict[str, str] = {}
    for distribution in distributions():
        if name := distribution.metadata['Name']:
            found.setdefault(_key(name), distribution.version)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r'\d+', re.match(r'[\d.]*', version)[0]))  # type: ignore[index]


def find_problem(requirement: Requirement, versions: Mapping[str, str]) -> str | None:
    """Return why the installed versions do not meet a requirement, or None."""
    present = [name for name in (*requirement.any_of, *requirement.excluded) if _key(name) in versions]
    accepted = [name for name in present if name not in requirement.excluded]
    if not accepted:
        return f'{" or ".join(requirement.any_of)} is not installed'
    if len(present) > 1:
        return f'{" and ".join(present)} are both installed and overwrite each other'
    version = versions[_key(accepted[0])]
    if _numbers(version) < _numbers(requirement.at_least):
        return f'{accepted[0]} {version} is too old: {requirement.at_least} or newer is needed'
    if _numbers(version) >= _numbers(requirement.below):
        return f'{accepted[0]} {version} is too new: a version below {requirement.below} is needed'
    return None


def check(capability: Capability, versions: Mapping[str, str]) -> tuple[bool, list[str], str]:
    """Return (works, lines to print, traceback or '')."""
    problems = [(text, row.command) for row in capability.requirements if (text := find_problem(row, versions))]
    if problems:
        return False, [line for text, command in problems for line in (text, f'  {command}')], ''
    try:
        return True, [capability.probe()], ''
    except probes.Unavailable as reason:
        return False, [str(reason)] + [f'  {capability.command}'] * bool(capability.command), ''
    except Exception as error:
        module = (error.name or '').split('.')[0] if isinstance(error, ModuleNotFoundError) else ''
        command = f'pip install {module}' if module and not installed(module) else capability.command
        message = textwrap.shorten(f'{type(error).__name__}: {error}', 300)
        return False, [message, f'  {command}'], f'{capability.name}: {traceback.format_exc()}'


def _print_versions(versions: Mapping[str, str]) -> None:
    print(f'\nEnvironment\n  python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores')
    for name in SHOWN:
        if version := versions.get(_key(name)):
            print(f'  {name} {version}')
    print(f'  not installed: {", ".join(name for name in SHOWN if _key(name) not in versions)}')
    if (note := cv2_note(versions)) is not None:
        print(f'  note: {note}')


def cv2_note(versions: Mapping[str, str]) -> str | None:
    """Return a note on several distributions of OpenCV, which all install the package cv2, or None."""
    found = {name: versions[name] for name in sorted(versions) if name.startswith('opencv-')}
    if len(found) < 2:
        return None
    remedy = 'their versions agree' if len(set(found.values())) == 1 else 'install the same version of each'
    return f'{" and ".join(found)} all install cv2, and the last one overwrites the others: {remedy}'


def _print_repairs() -> None:
    print(f'\nFaults of the host packages ({ENV_VAR}={os.environ.get(ENV_VAR, "")})')
    for row in REPAIRS:
        found = state(row)
        print(f'  {row.name:<22}{found}')
        if found != 'absent':
            print(f'    {row.package} {row.versions}: {row.symptom} (upstream: {row.issue})')
            if row.remedy:
                print(f'    remedy: {row.remedy}')


def main(from_clone: bool = False) -> int:
    """Print the report. ``from_clone`` marks a vidtx_mm that is run from its folder without installation."""
    warnings.simplefilter('ignore')
    print('vidtx_mm doctor. Paste this whole report into a bug report, with the failing command and its full output.')
    versions = installed_versions()
    if from_clone:
        versions.pop('vidtx-mm', None)  # metadata of a build in the folder
    _print_versions(versions)
    _print_repairs()
    print('\nCapabilities')
    failed, traces = [], []
    for capability in CAPABILITIES:
        works, lines, trace = check(capability, versions)
        print(f'  {capability.name:<22}{"yes" if works else "no"}')
        print('\n'.join(f'    {line}' for line in lines), flush=True)
        traces += [trace] if trace else []
        failed += [capability.name] if capability.required and not works else []
    print(*(f'\n{trace}' for trace in traces), sep='\n', end='')
    print(f'\nRecognition does not work: see {", ".join(failed)}.' if failed else '\nRecognition works.')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
