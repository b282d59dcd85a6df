"""Every config as the Runner reads it, held against configs/*.json beside this file, one for each group.

``.venv-dense/bin/python tests/goldens/resolved.py`` writes the goldens anew; the diff is what a change of configs does.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIG_DIR = ROOT / 'configs'
GOLDENS = Path(__file__).parent / 'configs'
# What Runner.from_cfg and the training scripts read. All else in a config is a variable that these are made of.
READ = (
    'custom_imports default_scope model find_unused_parameters train_dataloader val_dataloader test_dataloader '
    'train_cfg val_cfg test_cfg val_evaluator test_evaluator optim_wrapper param_scheduler auto_scale_lr '
    'default_hooks custom_hooks env_cfg log_processor log_level visualizer load_from resume randomness'
).split()


def group(path: Path) -> str:
    """The configs of a group differ in values, not in what they consist of."""
    words = path.stem.split('_')
    if path.parent == CONFIG_DIR:
        light = '_light' if words[1] in ('xs', 'xxs') else ''
        data = dict(k400='kinetics', k600='kinetics').get(words[-1], words[-1])
        data = 'something' if words[0] == 'uniformer' and 'ssv' in data else data
        return f'{words[0]}{light}_{data}'
    kind = dict(demo=path.stem, pose='heatmap').get(path.parent.name)
    return f'{path.parent.name}_{kind or path.stem.split("_uniformer")[0] + ("_1x" if "1x" in words else "_3x")}'


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


def golden(name: str) -> dict[str, dict[str, Any]]:
    """Stem of each config of a group to its resolved values."""
    stored = json.loads((GOLDENS / f'{name}.json').read_text())
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

    for folder in ('.', 'demo', 'detection', 'pose'):
        for name, paths in groups(CONFIG_DIR / folder).items():
            write(name, paths)
