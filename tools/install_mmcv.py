"""Install mmcv with CPU operators into the environment of this Python.

python tools/install_mmcv.py [VERSION]

If pip finds a wheel that works with the installed torch, it is used; wheels do not name their torch, so that the
operators are tried. Otherwise mmcv is compiled, and the wheel is kept in $XDG_CACHE_HOME/vidtx_mm/wheels or in the
folder of --cache. Needs torch, setuptools < 82, wheel and ninja.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections import deque
from importlib.metadata import version
from pathlib import Path

DURATION = '7 to 18 minutes on two cores'
TRY = 'import torch, mmcv.ops; mmcv.ops.nms(torch.tensor([[0., 0., 4., 4.]]), torch.tensor([.9]), .5)'
PIP = [sys.executable, '-m', 'pip', '--disable-pip-version-check']
# Optimized, without debug symbols (nine tenths of the library), and without CUDA even on a machine with a GPU.
BUILD = dict(
    MMCV_WITH_OPS='1',
    FORCE_CUDA='0',
    CUDA_VISIBLE_DEVICES='',
    CFLAGS='-O3 -DNDEBUG -fwrapv -g0',
    LDFLAGS='-Wl,--strip-debug',
)


def default_cache() -> Path:
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'vidtx_mm' / 'wheels'


def operators_run(wanted: str) -> bool:
    """Return whether this version of mmcv works with its operators; runs in a subprocess, since a library may crash."""
    code = f'import mmcv; assert mmcv.__version__ == {wanted!r}; {TRY}'
    return subprocess.run([sys.executable, '-c', code], capture_output=True, check=False).returncode == 0


def install(*arguments: str) -> bool:
    command = [*PIP, 'install', '-q', '--no-deps', '--force-reinstall', *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def install_ready(wanted: str, cache: Path) -> bool:
    """Install a kept wheel or one that pip finds; return whether its operators work."""
    sources = [[str(path)] for path in cache.glob(f'mmcv-{wanted}-*.whl')]
    sources.append(['--only-binary', 'mmcv', f'mmcv=={wanted}'])
    return any(install(*source) and operators_run(wanted) for source in sources)


def compile_wheel(wanted: str, cache: Path) -> Path:
    """Compile mmcv into ``cache``, with a line of progress per file."""
    if not shutil.which(os.environ.get('CXX', 'c++')):
        sys.exit('install_mmcv: no C++ compiler is on the PATH. On Debian or Ubuntu: apt-get install build-essential')
    cache.mkdir(parents=True, exist_ok=True)
    jobs = os.environ.get('MAX_JOBS', str(min(os.cpu_count() or 1, 8)))
    print(f'mmcv {wanted}: no wheel works with torch {version("torch")}; compiling, {DURATION}', flush=True)
    command = [*PIP, 'wheel', '-v', '--no-deps', '--no-build-isolation', '--no-binary', 'mmcv', f'mmcv=={wanted}']
    with subprocess.Popen(
        [*command, '-w', str(cache)],
        env={**os.environ, **BUILD, 'MAX_JOBS': jobs},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        start, tail = time.monotonic(), deque[str](maxlen=40)
        for line in process.stdout:
            tail.append(line.rstrip()[:400])
            if done := re.match(r'\s*\[(\d+)/(\d+)\]', line):
                print(f'mmcv: file {done[1]} of {done[2]}, {(time.monotonic() - start) / 60:.1f} minutes', flush=True)
    found = sorted(cache.glob(f'mmcv-{wanted}-*.whl'))
    if process.returncode or not found:
        sys.exit('\n'.join([*tail, f'install_mmcv: mmcv {wanted} failed to compile; see the lines above']))
    return found[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('version', nargs='?', default='2.1.0')
    parser.add_argument('--cache', type=Path, default=default_cache(), help='folder of compiled wheels')
    args = parser.parse_args()
    if operators_run(args.version):
        print(f'mmcv {args.version} is installed and its operators work')
        return
    subprocess.run([*PIP, 'uninstall', '-q', '-y', 'mmcv', 'mmcv-lite'], capture_output=True, check=False)
    cache = args.cache / f'torch-{version("torch")}-{sys.implementation.cache_tag}'
    if not install_ready(args.version, cache):
        wheel = compile_wheel(args.version, cache)
        if not (install(str(wheel)) and operators_run(args.version)):
            sys.exit(f'install_mmcv: {wheel} compiled, but its operators fail: see {sys.executable} -c "{TRY}"')
        print(f'mmcv {args.version}: saved {wheel} ({wheel.stat().st_size / 1e6:.1f} MB)')
    print(f'mmcv {args.version} with operators is installed')


if __name__ == '__main__':
    main()
