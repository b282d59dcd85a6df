"""Keep the body of the configs the same within each group.

A config is a header, a block of variables, and, from the line "# Body of GROUP: ..." on, a body that it shares with the
other configs of its group. Edit a body in one file, then copy it to the others:

    python tools/sync_configs.py configs/swin3d_t_k400.py
    python tools/sync_configs.py --list     # the groups, with their lines
    python tools/sync_configs.py --check    # exit with an error if bodies of a group differ
"""

import argparse
import re
import sys
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
MARKER = re.compile(r'^# Body of (\w+): .*\n', re.MULTILINE)


def split(path: Path) -> tuple[str, str, str]:
    """Return the group of a config, the text above the marker line, and the body with its marker line."""
    text = path.read_text(encoding='utf-8')
    marker = MARKER.search(text)
    if marker is None:
        raise ValueError(f'{path}: no line "# Body of GROUP: ..."; start from a config of its group')
    return marker[1], text[: marker.start()], text[marker.start() :]


def groups(folder: Path = CONFIGS) -> dict[str, list[Path]]:
    """Return the configs of each group; those without a body of a group are left out."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob('*.py')):
        if MARKER.search(path.read_text(encoding='utf-8')):
            found.setdefault(split(path)[0], []).append(path)
    return found


def mismatches(folder: Path = CONFIGS) -> dict[str, list[list[Path]]]:
    """Return, for each group whose bodies differ, the configs by body."""
    found = {}
    for group, paths in groups(folder).items():
        by_body: dict[str, list[Path]] = {}
        for path in paths:
            by_body.setdefault(split(path)[2], []).append(path)
        if len(by_body) > 1:
            found[group] = sorted(by_body.values(), key=len)
    return found


def copy_body(source: Path, folder: Path = CONFIGS) -> list[Path]:
    """Write the body of ``source`` into the configs of its group; return those that changed."""
    group, _, body = split(source)
    changed = []
    for path in groups(folder)[group]:
        _, head, old = split(path)
        if old != body:
            path.write_text(head + body, encoding='utf-8')
            changed.append(path)
    return changed


def describe(folder: Path = CONFIGS) -> str:
    """Return a table of the groups; the lines to edit are those of all heads and of one body of each group."""
    rows: list[tuple[str, ...]] = [('group', 'configs', 'heads', 'body', 'edited')]
    totals: dict[Path, int] = {}
    for group, paths in groups(folder).items():
        heads = sum(split(path)[1].count('\n') for path in paths)
        body = split(paths[0])[2].count('\n')
        rows.append((group, str(len(paths)), str(heads), str(body), str(heads + body)))
        totals[paths[0].parent] = totals.get(paths[0].parent, 0) + heads + body
    rows += [(f'all of {path.name}/', '', '', '', str(lines)) for path, lines in totals.items()]
    return '\n'.join(f'{row[0]:32}' + ''.join(f'{cell:>9}' for cell in row[1:]) for row in rows)


def main(argv: list[str] | None = None) -> str | None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument('config', nargs='*', type=Path, default=[], help='configs whose bodies to copy to their groups')
    choice.add_argument('--list', action='store_true', help='print the groups')
    choice.add_argument('--check', action='store_true', help='fail if bodies of a group differ')
    args = parser.parse_args(argv)
    if args.list:
        print(describe())
    for source in args.config:
        for path in copy_body(source):
            print(f'changed {path}')
    if args.check and (wrong := mismatches()):
        lines = [
            f'The bodies of {group} differ: ' + ' against '.join(', '.join(p.name for p in paths) for paths in variants)
            for group, variants in wrong.items()
        ]
        return '\n'.join([*lines, 'Copy the right body: python tools/sync_configs.py FILE'])
    return None


if __name__ == '__main__':
    sys.exit(main())
