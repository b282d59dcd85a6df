"""Build steps that give the package its ``.mim`` folder, in which openmim finds configs, tools and the model index.

A wheel carries a copy. An editable install gets links in the source tree, so that an edited config is seen at once.
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
    """Python modules as usual, then the ``.mim`` folder beside them."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            _fill(PACKAGE / '.mim', _link)
        else:
            _fill(Path(self.build_lib, PACKAGE.name, '.mim'), _copy)

    def get_source_files(self) -> list[str]:
        """The modules, and what ``.mim`` is made of: a source distribution must carry it."""
        found = [file for name in SHIPPED for file in (ROOT / name, *sorted((ROOT / name).rglob('*')))]
        needed = [Path(__file__).resolve(), *(file for file in found if file.suffix in ('.py', '.yml'))]
        return super().get_source_files() + [str(file.relative_to(ROOT)) for file in needed]


class EditableWheel(editable_wheel):
    """An editable wheel whose ``top_level.txt`` starts with the path of the package.

    openmim and MMEngine join the install location with the first line of that file to find a package. The location of
    an editable install is site-packages, where the package is not, so the line must lead back to the sources.
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
    except OSError:  # Windows without the right to make links
        _copy(source, target)
