"""What is installed, what is broken in it and repaired, what this installation can do, and the command for the rest.

``python tools/doctor.py``, ``python -m vidtx_mm.doctor`` or ``mim run vidtx_mm doctor``. The exit code is 1 where
recognition cannot run. Needs nothing but the standard library to start, so that it works where an import fails.
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
from vidtx_mm.compat import REPAIRS, SWITCH, state
from vidtx_mm.repairs.environment import installed
from vidtx_mm.repairs.mmcv import OPERATORS

SHOWN = (
    'vidtx_mm torch torchvision mmengine mmcv mmcv-lite mmaction2 mmdet mmpose openmim setuptools numpy opencv-python '
    'opencv-contrib-python opencv-python-headless decord eva-decord av einops importlib_metadata safetensors msgpack '
    'transformers timm json-tricks munkres six xtcocotools pandas moviepy'
).split()


@dataclass(frozen=True)
class Need:
    """Exactly one of some distributions, in the half-open range [at_least, below), and none of the excluded ones."""

    any_of: tuple[str, ...]
    at_least: str
    below: str
    command: str
    excluded: tuple[str, ...] = ()


def need(name: str, at_least: str, below: str, command: str = '') -> Need:
    return Need((name,), at_least, below, command or f'pip install "{name}>={at_least},<{below}"')


@dataclass(frozen=True)
class Ability:
    """Something that users do. ``command`` is the remedy where every need is met and the probe fails all the same."""

    name: str
    needs: tuple[Need, ...]
    probe: Callable[[], str]
    command: str
    required: bool = False


LITE = 'pip uninstall -y mmcv mmcv-lite && pip install mmcv-lite==2.1.0'
MIM = 'pip install openmim "setuptools<82" "pandas<3.1"  # pandas 3.1 does not import beside numpy 1'
HOST = (
    need(
        'vidtx_mm',
        '0.1',
        '1',
        'pip install -e ".[recognition]"  # in the folder of this repository; brings the rest too',
    ),
    need('torch', '2.1', '3'),
    need('mmengine', '0.10.7', '1'),
    need('mmaction2', '1.2', '2'),
    need('importlib_metadata', '1', '100'),
    need('einops', '0.3', '1'),
)
DENSE = (HOST[1], HOST[2], Need(('mmcv',), '2.0.1', '2.2', OPERATORS, excluded=('mmcv-lite',)))
ABILITIES = (
    Ability(
        'recognition',
        (*HOST, Need(('mmcv', 'mmcv-lite'), '2.0.1', '2.2', LITE)),
        probes.recognition,
        'the traceback below; send it with the bug report',
        required=True,
    ),
    Ability('video decoding', (), probes.decoders, 'pip install decord opencv-contrib-python', required=True),
    Ability('mim', (need('openmim', '0.3.9', '1'), need('setuptools', '40', '82')), probes.mim, MIM),
    Ability('GPU', (need('torch', '2.1', '3'),), probes.gpu, ''),
    Ability('detection', (*DENSE, need('mmdet', '3.3', '4')), probes.detection, OPERATORS),
    Ability(
        'pose',
        (
            *DENSE,
            need('mmpose', '1.3.2', '2', 'pip install --no-deps mmpose==1.3.2'),
            need('json-tricks', '3', '4'),
            need('munkres', '1', '4'),
            need('six', '1', '2'),  # mmpose imports it and does not require it; mmdet does
            need('xtcocotools', '1.14', '2'),
        ),
        probes.pose,
        'pip install "numpy<2" "opencv-python<4.12" "opencv-contrib-python<4.12" "pandas<3.1"',
    ),
)


def _key(name: str) -> str:
    return re.sub('[-_.]+', '-', name).lower()


def installed_versions() -> dict[str, str]:
    """Version by normalized distribution name, the first on the path where there are several."""
    found: dict[str, str] = {}
    for distribution in distributions():
        if name := distribution.metadata['Name']:
            found.setdefault(_key(name), distribution.version)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r'\d+', re.match(r'[\d.]*', version)[0]))  # type: ignore[index]


def complaint(need: Need, versions: Mapping[str, str]) -> str | None:
    """What is wrong with the installed versions for this need, or None."""
    there = [name for name in (*need.any_of, *need.excluded) if _key(name) in versions]
    wanted = [name for name in there if name not in need.excluded]
    if not wanted:
        return f'{" or ".join(need.any_of)} is not installed'
    if len(there) > 1:
        return f'{" and ".join(there)} are both installed and overwrite each other'
    version = versions[_key(wanted[0])]
    if _numbers(version) < _numbers(need.at_least):
        return f'{wanted[0]} {version} is too old: at least {need.at_least}'
    if _numbers(version) >= _numbers(need.below):
        return f'{wanted[0]} {version} is too new: below {need.below}'
    return None


def examine(ability: Ability, versions: Mapping[str, str]) -> tuple[bool, list[str], str]:
    """(can be done, lines to print, traceback or '')."""
    complaints = [(text, need.command) for need in ability.needs if (text := complaint(need, versions))]
    if complaints:
        return False, [line for text, command in complaints for line in (text, f'  {command}')], ''
    try:
        return True, [ability.probe()], ''
    except probes.Unavailable as reason:
        return False, [str(reason)] + [f'  {ability.command}'] * bool(ability.command), ''
    except Exception as error:
        absent = (error.name or '').split('.')[0] if isinstance(error, ModuleNotFoundError) else ''
        command = f'pip install {absent}' if absent and not installed(absent) else ability.command
        message = textwrap.shorten(f'{type(error).__name__}: {error}', 300)
        return False, [message, f'  {command}'], f'{ability.name}: {traceback.format_exc()}'


def _print_versions(versions: Mapping[str, str]) -> None:
    print(f'\nVersions\n  python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} cores')
    for name in SHOWN:
        if version := versions.get(_key(name)):
            print(f'  {name} {version}')
    print(f'  not installed: {", ".join(name for name in SHOWN if _key(name) not in versions)}')


def _print_repairs() -> None:
    print(f'\nFaults of the host ({SWITCH}={os.environ.get(SWITCH, "")})')
    for row in REPAIRS:
        found = state(row)
        print(f'  {row.name:<20}{found}')
        if found != 'absent':
            print(f'    {row.package} {row.since}: {row.broken} (upstream: {row.upstream})')
            if row.remedy:
                print(f'    left to you: {row.remedy}')


def main(from_clone: bool = False) -> int:
    """Print the report; ``from_clone`` says that vidtx_mm was found as a folder and is not installed."""
    warnings.simplefilter('ignore')
    print('vidtx_mm doctor. For a bug report, paste everything from this line on, then the command that failed and its')
    print('full output.')
    versions = installed_versions()
    if from_clone:
        versions.pop('vidtx-mm', None)  # a build left its metadata in the folder
    _print_versions(versions)
    _print_repairs()
    print('\nWhat this installation can do')
    missing, traces = [], []
    for ability in ABILITIES:
        can, lines, trace = examine(ability, versions)
        print(f'  {ability.name:<20}{"yes" if can else "no"}')
        print('\n'.join(f'    {line}' for line in lines), flush=True)
        traces += [trace] if trace else []
        missing += [ability.name] if ability.required and not can else []
    print(*(f'\n{trace}' for trace in traces), sep='\n', end='')
    print(f'\nRecognition cannot run: {", ".join(missing)} missing.' if missing else '\nRecognition can run.')
    return 1 if missing else 0


if __name__ == '__main__':
    sys.exit(main())
