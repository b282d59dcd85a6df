"""Checks of arguments, with the one wording of their errors.

The type hints of a constructor say which values it takes; ``Annotated[int, Rule(...)]`` narrows a type. Registration
(``vidtx_mm.registry``) wraps the constructor in :func:`checked`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from inspect import signature
from math import isfinite
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar('T')


@dataclass(frozen=True)
class Rule:
    """A condition on the values of a type, and a phrase for the values that meet it."""

    values: str
    holds: Callable[[Any], bool] = lambda _: True


@dataclass(frozen=True, eq=False)
class OneOf:
    """The rule of a choice, such as among the keys of a table."""

    valid: Iterable[Any]

    @property
    def values(self) -> str:
        return f'one of {", ".join(map(repr, self.valid))}'

    def holds(self, value: Any) -> bool:
        return value in list(self.valid)


Positive = Annotated[int, Rule('a positive integer', lambda n: n > 0)]
Count = Annotated[int, Rule('an integer of at least 0', lambda n: n >= 0)]
PositiveFloat = Annotated[float, Rule('a positive number', lambda x: x > 0)]
Share = Annotated[float, Rule('a number from 0 to 1', lambda x: 0 <= x <= 1)]
Rate = Annotated[float, Rule('a number in [0, 1)', lambda x: 0 <= x < 1)]
Fraction = Annotated[float, Rule('a number in (0, 1]', lambda x: 0 < x <= 1)]
Positives = Annotated[Sequence[Positive], Rule('a list of positive integers', lambda s: len(s) > 0)]
Ratio = Annotated[float, Rule('a positive number of at most 100', lambda x: 0 < x <= 100)]
Epsilon = Annotated[float, Rule('a number in (0, 1)', lambda x: 0 < x < 1)]
Cfg = Annotated[dict, Rule('a dict with a type', lambda cfg: 'type' in cfg)]
InitCfg = Annotated[Cfg | list[Cfg], Rule('a dict with a type, or a list of them')]
Size3 = Annotated[Sequence[Positive], Rule('three positive integers (t, h, w)', lambda s: len(s) == 3)]
Size2 = Annotated[Sequence[Positive], Rule('two (height, width)', lambda s: len(s) == 2)]


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


TYPES: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    NoneType: ('None', lambda value: value is None),
    bool: ('True or False', lambda value: isinstance(value, bool)),
    int: ('an integer', lambda value: _is_number(value, Integral)),
    float: ('a finite number', lambda value: _is_number(value, Real) and isfinite(value)),
    str: ('a string', lambda value: isinstance(value, str)),
}


def fits(value: Any, hint: Any) -> bool:
    """Return whether a value meets a type hint. Lists and arrays meet hints of sequences, an int those of floats."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if hint in TYPES:
        return TYPES[hint][1](value)
    if origin is Annotated:
        return fits(value, args[0]) and all(rule.holds(value) for rule in args[1:])
    if origin in (Union, UnionType):
        return any(fits(value, arg) for arg in args)
    if origin in (Sequence, list, tuple):
        if not (isinstance(value, list | tuple) or (hasattr(value, '__array__') and hasattr(value, '__len__'))):
            return False
        entries = args if origin is tuple and ... not in args else args[:1] * len(value)
        return len(entries) == len(value) and all(map(fits, value, entries))
    return isinstance(value, origin or hint)


def phrase(hint: Any) -> str:
    """Return a phrase for the values that meet a type hint."""
    args = get_args(hint)
    if hint in TYPES:
        return TYPES[hint][0]
    if get_origin(hint) is Annotated:
        return args[1].values
    if get_origin(hint) in (Union, UnionType):
        return ', or '.join(map(phrase, args))
    if get_origin(hint) in (Sequence, list, tuple):
        return 'a list' if args[0] is Any else f'a list with {phrase(args[0])} in each place'
    return 'a dict' if issubclass(get_origin(hint) or hint, Mapping) else f'a {hint.__name__}'


def check(name: str, value: T, hint: Any) -> T:
    """Return ``value`` if it meets ``hint``.

    Raises:
        ValueError: otherwise, with the values that do.
    """
    if not fits(value, hint):
        raise _invalid(name, value, phrase(hint))
    return value


def _invalid(name: str, value: Any, values: str) -> ValueError:
    return ValueError(f'{name}={value!r}: {"choose" if values.startswith("one of") else "give"} {values}')


def choose(name: str, value: T, valid: Iterable[T]) -> T:
    """Return ``value`` if it is one of ``valid``.

    Raises:
        ValueError: otherwise, with the valid values.
    """
    if value not in (choices := list(valid)):  # in forward passes, too: torch.compile traces this, but no hints
        raise _invalid(name, value, OneOf(choices).values)
    return value


def checked(init: Callable[..., None]) -> Callable[..., None]:
    """Wrap a constructor so that its arguments are checked against its type hints.

    Raises:
        TypeError: for an unknown or a missing argument, with the valid ones.
        ValueError: for a value that does not meet its hint.

    Both name the class, also where the constructor raises them.
    """
    parameters = signature(init)
    names = [n for n, p in parameters.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)][1:]
    hints = cache(lambda: get_type_hints(init, include_extras=True))

    @wraps(init)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        owner = type(self).__name__
        try:
            given = parameters.bind(self, *args, **kwargs).arguments
        except TypeError as error:
            raise TypeError(f'{owner}: {error}; valid are {", ".join(names)}') from None
        try:
            for name in names:
                if name in given and name in hints():
                    check(name, given[name], hints()[name])
            init(self, *args, **kwargs)
        except (TypeError, ValueError) as error:
            if type(error) in (TypeError, ValueError) and not re.match(r'[A-Z]\w+: ', str(error)):
                error.args = (f'{owner}: {error}',)
            raise

    return __init__
