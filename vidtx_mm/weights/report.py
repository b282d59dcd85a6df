"""Record of a load, as data and as a table."""

import re
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from ..checks import choose
from .errors import listed

ACTIONS = ('copied', 'renamed', 'borrowed', 'inflated', 'resized', 'dropped', 'left at init')


@dataclass(frozen=True)
class Record:
    """One tensor: its key in the model (in the file, if dropped), the action, and details."""

    key: str
    action: str
    detail: str = ''


@dataclass
class LoadReport:
    """Report of one load.

    ``str()`` returns a table in which keys that differ only in numbers and were treated alike share a line.

    Attributes:
        checkpoint: the file.
        container: the key in it that holds the weights, or 'raw'.
        source: title of the format it was recognized as.
        model: the class that was loaded.
        records: one per tensor of the model and per tensor dropped from the file.
        notes: remarks for the user.
        coverage: share of the model's parameters that come from the file, 0 to 1.
        parameters: number of parameters of the model.
    """

    checkpoint: str
    container: str
    source: str
    model: str
    records: list[Record] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    coverage: float = 1.0
    parameters: int = 0

    def add(self, key: str, action: str, detail: str = '') -> None:
        self.records.append(Record(key, choose('action', action, ACTIONS), detail))

    def keys(self, action: str) -> list[str]:
        """Return the keys with ``action``, one of ``ACTIONS``."""
        return [record.key for record in self.records if record.action == action]

    def count(self, model: nn.Module, loaded: Container[str]) -> None:
        """Set ``parameters`` and ``coverage`` from the state-dict keys that the file gives."""
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        self.parameters = sum(sizes.values())
        self.coverage = sum(size for name, size in sizes.items() if name in loaded) / max(self.parameters, 1)

    def __str__(self) -> str:
        groups: dict[tuple[str, str], list[str]] = {}
        for record in sorted(self.records, key=lambda r: ACTIONS.index(r.action)):
            key, detail = _pattern(record.key), record.detail
            if record.action == 'copied':
                key = ''
            elif record.action in ('renamed', 'borrowed'):
                key, detail = f'{key} {_pattern(detail)}', ''
            groups.setdefault((record.action, detail), []).append(key)
        lines = [f'{self.checkpoint} ({self.source}, container {self.container!r}) into {self.model}:']
        for (action, detail), keys in groups.items():
            text = f'{listed(dict.fromkeys(keys), 2)}: {detail}'.removesuffix(': ')
            lines.append(f'  {action:<12} {len(keys):>5}  {text}'.rstrip())
        lines.append(f'  {100 * self.coverage:.1f} % of {self.parameters:,} parameters are from the file')
        return '\n'.join([*lines, *(f'  note: {note}' for note in self.notes)])

    def save(self, path: str | Path) -> None:
        """Write the table, then one line per tensor."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f'{record.action}\t{record.key}\t{record.detail}'.rstrip() for record in self.records]
        path.write_text('\n'.join([str(self), '', *lines, '']))


def _pattern(key: str) -> str:
    return re.sub(r'(?<=\.)\d+(?=\.)', '*', key)
