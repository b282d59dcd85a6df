"""Build steps for ``vidtx_mm/.mim``, where openmim finds configs, tools and the model index.

A wheel contains copies. An editable install has links in the source tree, so that edits take effect at once.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / 'vidtx_mm'
SHIPPED = ('configs', 'tools', 'model-index.yml')
IGNORED = ('__pycache__', '*.pyc', '.*')


class BuildPy(build_py):
    """Build the Python modules and the ``.mim`` folder."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            _fill(PACKAGE / '.mim', _link)
        else:
            _fill(Path(self.build_lib, PACKAGE.name, '.mim'), _copy)

    def get_source_files(self) -> list[str]:
        """Return the modules and the sources of ``.mim``, for the source distribution."""
        found = [file for name in SHIPPED for file in (ROOT / name, *sorted((ROOT / name).rglob('*')))]
        needed = [Path(__file__).resolve(), *(file for file in found if file.suffix in ('.py', '.yml'))]
        return super().get_source_files() + [str(file.relative_to(ROOT)) for file in needed]


class EditableWheel(editable_wheel):
    """Build an editable wheel whose ``top_level.txt`` starts with the path of the package.

    openmim and MMEngine look for a package at its install location joined with the first line of that file. For an
    editable install the location is site-packages, so that the line must be the path of the sources.
    """

    def run(self) -> None:
        if self.dist_info_dir is None:
            Path(self.dist_dir).mkdir(exist_ok=True)
            dist_info = self.reinitialize_command('dist_info', output_dir=str(self.dist_dir))
            dist_info.ensure_finalized()
            dist_info.run()
            self.dist_info_dir = dist_info.dist_info_dir
        Path(self.dist_info_dir, 'top_level.txt').write_text(f'{PACKAGE}\n{PACKAGE.name}\n', encoding='utf-8')
        super().run()


def _fill(folder: Path, place) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in SHIPPED:
        place(ROOT / name, folder / name)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*IGNORED))
    else:
        shutil.copy2(source, target)


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=source.is_dir())
    except OSError:  # Windows without permission to create links
        _copy(source, target)
