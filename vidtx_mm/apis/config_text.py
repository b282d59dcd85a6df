"""A recipe rewritten for other data: the text of a config, its variables and the lines below them."""

import ast
from collections.abc import Iterable, Mapping
from typing import Any


def replace_values(text: str, values: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Give top-level variables of a config new values; each keeps its comment unless ``comments`` has another.

    Raises:
        ValueError: if the config lacks one of them.
    """
    lines = text.splitlines()
    missing = set(values)
    for node in reversed(ast.parse(text).body):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
            continue
        name = node.targets[0].id
        if name in missing:
            missing.discard(name)
            assert node.end_lineno is not None and node.end_col_offset is not None
            rest = lines[node.end_lineno - 1].encode()[node.end_col_offset :].decode()
            comment = f'  # {comments[name]}' if name in comments else rest
            lines[node.lineno - 1 : node.end_lineno] = [f'{name} = {values[name]!r}{comment}']
    if missing:
        raise ValueError(f'the config has no variable {", ".join(sorted(missing))} to set')
    return '\n'.join(lines) + '\n'


def variables(text: str) -> set[str]:
    """The names of a config's top-level variables."""
    nodes = (node for node in ast.parse(text).body if isinstance(node, ast.Assign))
    return {target.id for node in nodes for target in node.targets if isinstance(target, ast.Name)}


def replace_header(text: str, header: Iterable[str]) -> str:
    """Give a config another docstring."""
    first = ast.parse(text).body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    body = text.splitlines()[first.end_lineno if is_docstring else 0 :]
    return '\n'.join(['"""' + '\n'.join(header), '"""', *body]) + '\n'
