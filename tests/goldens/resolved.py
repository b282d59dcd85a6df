"""Every config as the Runner reads it, held against configs/*.json beside this file, one for each group.

``.venv-dense/bin/python tests/goldens/resolved.py`` writes the goldens anew; the diff is what a change of configs does.
"""

import ast
import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIG_DIR = ROOT / 'configs'
SYNC = runpy.run_path(str(ROOT / 'tools' / 'sync_configs.py'))
GOLDENS = Path(__file__).parent / 'configs'
# What Runner.from_cfg and the training scripts read. All else in a config is a variable that these are made of.
READ = (
    'custom_imports default_scope model find_unused_parameters model_wrapper_cfg train_dataloader val_dataloader '
    'test_dataloader train_cfg val_cfg test_cfg val_evaluator test_evaluator optim_wrapper param_scheduler '
    'auto_scale_lr default_hooks custom_hooks env_cfg log_processor log_level visualizer load_from resume randomness'
).split()


def group(path: Path) -> str:
    """The group that the marker line names; a config without one is a group of its own."""
    marker = SYNC['MARKER'].search(path.read_text(encoding='utf-8'))
    return marker[1] if marker else f'{path.parent.name}_{path.stem}'


def leaves(value: Any, key: str = '') -> dict[str, Any]:
    """Dotted keys of dicts, and of lists that hold dicts; JSON's types."""
    if isinstance(value, dict) and value:
        entries = value.items()
    elif isinstance(value, list | tuple) and '{' in json.dumps(value):
        entries = enumerate(value)
    else:
        return {key: json.loads(json.dumps(value))}
    inner = [leaves(entry, f'{key}.{name}' if key else str(name)) for name, entry in entries]
    return {name: entry for part in inner for name, entry in part.items()}


def resolved(path: Path) -> dict[str, Any]:
    cfg = Config.fromfile(path).to_dict()
    return leaves({key: cfg[key] for key in READ if key in cfg})


def variables(path: Path) -> dict[str, Any]:
    """The variables above the marker line."""
    values: dict[str, Any] = {}
    exec(SYNC['split'](path)[1], values)  # noqa: S102  our own file
    return {name: value for name, value in values.items() if not name.startswith('__')}


def unused(path: Path) -> list[str]:
    """The variables above the marker line that change nothing of what the Runner reads."""
    _, head, body = SYNC['split'](path)
    found = []
    for name, value in variables(path).items():
        tree = ast.parse(head)
        (assignment,) = (n for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == name)  # type: ignore[attr-defined]
        assignment.value = ast.parse(repr(_other(value)), mode='eval').body
        if _evaluated(ast.unparse(tree) + '\n' + body) == _evaluated(head + body):
            found.append(name)
    return found


def _evaluated(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    exec(text, values)  # noqa: S102
    return {key: values[key] for key in READ if key in values}


def _other(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value, other=True)
    if isinstance(value, list | tuple):
        return value[::-1] if value[::-1] != value else [*value, 1]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value // 2 or 2
    return value / 2 or 0.5 if isinstance(value, float) else 'other'


def golden(name: str) -> dict[str, dict[str, Any]]:
    """Stem of each config of a group to its resolved values; empty for a group that has no golden."""
    file = GOLDENS / f'{name}.json'
    stored = json.loads(file.read_text()) if file.is_file() else {}
    return {stem: stored['all'] | own for stem, own in stored.items() if stem != 'all'}


def write(name: str, paths: Sequence[Path]) -> None:
    """A line for each value: first those that all configs share, then those of each."""
    values = {path.stem: resolved(path) for path in paths}
    first, *others = values.values()
    shared = {key: value for key, value in first.items() if all(key in o and o[key] == value for o in others)}
    parts = {'all': shared} | {stem: {k: v for k, v in own.items() if k not in shared} for stem, own in values.items()}
    blocks = []
    for stem, part in parts.items():
        lines = ',\n'.join(f'  {json.dumps(key)}: {json.dumps(value)}' for key, value in part.items())
        blocks.append(f' {json.dumps(stem)}: {{\n{lines}\n }}' if part else f' {json.dumps(stem)}: {{}}')
    (GOLDENS / f'{name}.json').write_text('{\n' + ',\n'.join(blocks) + '\n}\n')


def groups(folder: Path = CONFIG_DIR) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob('*.py')):
        found.setdefault(group(path), []).append(path)
    return found


if __name__ == '__main__':
    import vidtx_mm  # noqa: F401  repairs the hosts before a config imports them

    for folder in ('.', 'custom', 'demo', 'detection', 'imagenet', 'pose', 'segmentation'):
        for name, paths in groups(CONFIG_DIR / folder).items():
            write(name, paths)
