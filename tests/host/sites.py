"""Installations with one package missing."""

import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def site_without(parent: Path, *prefixes: str) -> Path:
    """Link the packages of this interpreter, except files with these prefixes, and vidtx_mm into a new folder.

    Run ``python -S`` with this folder as ``PYTHONPATH``.
    """
    folder = parent / 'site'
    folder.mkdir()
    for entry in Path(sysconfig.get_path('purelib')).iterdir():
        if not entry.name.startswith(prefixes) and not entry.name.endswith('.pth'):
            (folder / entry.name).symlink_to(entry)
    if not (folder / 'vidtx_mm').exists():
        (folder / 'vidtx_mm').symlink_to(ROOT / 'vidtx_mm')
    return folder
