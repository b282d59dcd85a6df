"""Repair of mmengine's Config: ``--cfg-options`` on a variable reaches every place that uses the variable."""

import ast
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from vidtx_mm.repairs.environment import package_folder


def options_miss_variables() -> bool:
    root = package_folder('mmengine')
    return root is not None and 'RemoveAssignFromAST(BASE_KEY)' in (root / 'config/config.py').read_text('utf-8')


@contextmanager
def options_reach_variables(module: ModuleType) -> Iterator[None]:
    yield
    config = module.Config
    original = config.merge_from_dict

    @functools.wraps(original)
    def merge_from_dict(self: Any, options: dict, allow_list_keys: bool = True) -> None:
        for key, value in module.ConfigDict(_consequences(module, self, options)).items():
            self[key] = value
        original(self, options, allow_list_keys=allow_list_keys)

    config.merge_from_dict = merge_from_dict


def _consequences(module: ModuleType, cfg: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the top-level values of a config that follow from new values of its variables.

    The config's files are evaluated twice, as they are and with the variables named in ``options``. Where the results
    differ, the config gets the second one; all else, such as changes made after reading the file, stays.
    """
    variables = {key: value for key, value in options.items() if key in cfg and not isinstance(cfg[key], dict)}
    filename = cfg.filename
    if not variables or not filename or not filename.endswith('.py') or module.Config._is_lazy_import(filename):
        return {}
    before, after = _evaluated(module, filename, {}), _evaluated(module, filename, variables)
    return _follow(cfg, before, after)


def _evaluated(module: ModuleType, filename: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """Read a config and its bases with other values of some variables."""
    original = module.RemoveAssignFromAST

    class WithValues(original):  # type: ignore[misc, valid-type]
        def visit_Assign(self, node: ast.Assign) -> Any:
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in variables.keys() & names:
                node.value = ast.copy_location(ast.parse(repr(variables[name]), mode='eval').body, node.value)
            return super().visit_Assign(node)

    module.RemoveAssignFromAST = WithValues  # type: ignore[attr-defined]
    try:
        return module.Config._file2dict(filename)[0]
    except Exception as error:  # of the config's own code
        given = ', '.join(f'{name}={value!r}' for name, value in variables.items())
        raise ValueError(f'{filename} cannot be read with {given} ({error}): give values that it can use') from error
    finally:
        module.RemoveAssignFromAST = original  # type: ignore[attr-defined]


def _follow(now: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The items of ``after`` that differ from ``before``, on top of ``now``."""
    return {
        key: _followed(now.get(key), before.get(key), value) for key, value in after.items() if value != before.get(key)
    }


def _followed(now: Any, before: Any, after: Any) -> Any:
    kinds = {type(before), type(after)}
    if isinstance(now, dict) and isinstance(before, dict) and isinstance(after, dict):
        kept = {key: value for key, value in now.items() if key in after or key not in before}
        return kept | _follow(now, before, after)
    if isinstance(now, list) and kinds == {list} and len(now) == len(before) == len(after):
        triples = zip(now, before, after, strict=True)
        return [n if a == b else _followed(n, b, a) for n, b, a in triples]
    return after
