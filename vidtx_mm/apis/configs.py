"""Configs by name: the stem of a file of this package's configs, or the path of any config."""

from pathlib import Path

import vidtx_mm
from vidtx_mm.labels import suggest

_PACKAGE = Path(vidtx_mm.__file__).resolve().parent


def config_root() -> Path:
    """The folder of the package's configs: of the installed package, or of the checkout."""
    installed = _PACKAGE / '.mim' / 'configs'
    return installed if installed.is_dir() else _PACKAGE.parent / 'configs'


def config_files() -> dict[str, Path]:
    """All configs of the package by name."""
    return {file.stem: file for file in sorted(config_root().rglob('*.py'))}


def find_config(name: str | Path) -> Path:
    """The file of a config.

    Raises:
        ValueError: if ``name`` is neither a file nor a name; it lists the nearest names.
    """
    path = Path(name)
    if path.is_file():
        return path
    files = config_files()
    if str(name) in files:
        return files[str(name)]
    if path.suffix == '.py':
        raise ValueError(f'{name}: no such config file; `vidtx models` lists the names of ours')
    raise ValueError(f'unknown config {str(name)!r}: {suggest(str(name), tuple(files))}')
