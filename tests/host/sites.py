"""Installations that differ from this one in one thing."""

import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]


def site_without(parent: Path, *prefixes: str) -> Path:
    """A new folder of links to the packages of this interpreter, less those with these file prefixes; and to ours.

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
