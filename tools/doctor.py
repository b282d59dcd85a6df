"""Check this installation: ``python tools/doctor.py`` (see vidtx_mm.doctor)."""

import sys
from pathlib import Path

if sys.version_info < (3, 10):  # noqa: UP036
    sys.exit(f'vidtx_mm needs Python 3.10, 3.11 or 3.12, but this is {sys.version.split()[0]}: use another interpreter')

from_clone = False
try:
    from vidtx_mm.doctor import main
except ModuleNotFoundError as error:  # a checkout without an installation
    if error.name != 'vidtx_mm':
        raise
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    from vidtx_mm.doctor import main

    from_clone = True

sys.exit(main(from_clone))
