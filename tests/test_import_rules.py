"""All import statements follow the table of docs/architecture.md."""

import ast
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'vidtx_mm'
STDLIB = set(sys.stdlib_module_names)

# Part of the package -> allowed imports beyond the standard library and itself: other parts (with a leading dot) and
# third-party packages. The longest matching prefix counts.
RULES = {
    '': {'.compat'},
    'checks': set(),
    'labels': set(),
    'registry': {'.checks', 'mmengine'},
    'layers': {'.checks', 'torch', 'einops'},
    'backbones': {'.checks', '.layers', '.registry', 'torch', 'einops', 'mmengine'},
    'heads': {'.checks', '.registry', 'numpy', 'torch', 'mmengine', 'mmaction'},
    'heads.image_head': {'.registry', 'torch', 'mmpretrain'},
    'transforms': {'.checks', '.registry', '.video', 'numpy', 'torch', 'cv2', 'PIL', 'mmcv', 'mmengine', 'mmaction'},
    'video': {'.checks', 'numpy', 'av', 'decord', 'cv2'},
    'datasets': {'.checks', '.labels', '.registry', '.video', 'torch', 'mmengine', 'mmaction'},
    'hooks': {'.checks', '.datasets', '.registry', 'numpy', 'torch', 'mmengine', 'mmaction'},
    'reporting': {'numpy', 'cv2', 'matplotlib'},
    'optim': {'.checks', '.registry', 'torch', 'mmengine'},
    'recognizer': {'.checks', '.registry', 'torch', 'mmengine', 'mmaction'},
    'weights': {'.checks', '.layers.position', 'torch', 'numpy', 'safetensors', 'msgpack', 'huggingface_hub'},
    'weights.initializers': {'.checks', '.weights', '.registry', 'torch', 'mmengine'},
    'weights.hooks': {'.weights', '.registry', 'torch', 'mmengine'},
    'weights.runtime': {'.weights', 'torch', 'mmengine'},
    'compat': {'.repairs'},
    'repairs': {'torch', 'numpy', 'mmengine', 'mmaction'},
}
# Commands may import everything, and nothing may import them.
COMMANDS = ('apis', 'benchmark', 'cli', 'demo', 'doctor', 'probes', '__main__')
BANNED = {'mmdet', 'mmpose', 'mmseg'}  # used in configs only


def module_name(file: Path) -> str:
    """Return the dotted name below the package, '' for the package itself."""
    parts = file.relative_to(PACKAGE).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(file: Path) -> set[str]:
    """Return all imports of a file: '.part.module' of this package, else the top-level name."""
    name = module_name(file)
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            outer = ['vidtx_mm', *name.split('.')] if name else ['vidtx_mm']
            base = outer[: len(outer) - node.level + (file.name == '__init__.py')] if node.level else []
            found.add('.'.join([*base, *([node.module] if node.module else [])]))
    return {
        full.removeprefix('vidtx_mm') or '.' if full.split('.')[0] == 'vidtx_mm' else full.split('.')[0]
        for full in found
    }


def rule(name: str) -> tuple[str, set[str]]:
    """Return the longest prefix in RULES of a module."""
    parts = name.split('.')
    prefixes = ['.'.join(parts[:n]) for n in range(len(parts), 0, -1)]
    part = next((prefix for prefix in prefixes if prefix in RULES), None)
    assert part is not None, f'vidtx_mm.{name}: no row in RULES says what it may import'
    return part, RULES[part]


def within(target: str, allowed: set[str]) -> bool:
    """Return whether an import is in ``allowed`` or below one of its names."""
    return any(target == one or target.startswith(f'{one}.') for one in allowed)


FILES = {module_name(file): file for file in sorted(PACKAGE.rglob('*.py')) if '.mim' not in file.parts}


@pytest.mark.parametrize('name', [name for name in FILES if name.split('.')[0] not in COMMANDS])
def test_imports_follow_the_table(name: str) -> None:
    part, others = rule(name)
    allowed = {f'.{part}', *others}
    foreign = {target for target in imports(FILES[name]) - STDLIB if not within(target, allowed)}
    assert not foreign, f'vidtx_mm.{name} imports {sorted(foreign)}; it may import {sorted(allowed)}'


@pytest.mark.parametrize('name', FILES)
def test_detection_and_pose_are_imported_nowhere(name: str) -> None:
    assert not imports(FILES[name]) & BANNED


@pytest.mark.parametrize('statement', ['from ..weights import load', 'import vidtx_mm.weights.load', 'import mmdet'])
def test_the_reader_sees_a_breach(statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / 'backbones' / 'bad.py'
    file.parent.mkdir()
    file.write_text(f'def late():\n    {statement}\n')
    monkeypatch.setattr(f'{__name__}.PACKAGE', tmp_path)
    _, allowed = rule('backbones.bad')
    assert not all(within(target, {'.backbones', *allowed}) for target in imports(file))


def test_every_row_is_about_existing_code() -> None:
    assert set(RULES) <= set(FILES)
    assert set(COMMANDS) <= set(FILES)
