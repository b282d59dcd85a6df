"""What a load did, as data and as a table."""

import re
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from ..checks import choose
from .errors import listed

ACTIONS = ('copied', 'renamed', 'borrowed', 'inflated', 'resized', 'dropped', 'left at init')


@dataclass(frozen=True)
class Entry:
    """One tensor: its key in the model (in the file, if dropped), what was done, and how or why."""

    key: str
    action: str
    detail: str = ''


@dataclass
class LoadReport:
    """The record of one load.

    ``str()`` gives a table in which keys that differ only in numbers and were treated alike share a line.

    Attributes:
        checkpoint: the file.
        container: the key in it under which the weights lay, or 'raw'.
        source: the published form it was recognized as.
        model: the class that was loaded.
        entries: one per tensor of the model and per tensor dropped from the file.
        notes: remarks for the user.
        coverage: the part of the model's parameters that come from the file, 0 to 1.
        parameters: how many the model has.
    """

    checkpoint: str
    container: str
    source: str
    model: str
    entries: list[Entry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    coverage: float = 1.0
    parameters: int = 0

    def add(self, key: str, action: str, detail: str = '') -> None:
        self.entries.append(Entry(key, choose('action', action, ACTIONS), detail))

    def keys(self, action: str) -> list[str]:
        """The keys that met ``action``: one of ``ACTIONS``."""
        return [entry.key for entry in self.entries if entry.action == action]

    def count(self, model: nn.Module, loaded: Container[str]) -> None:
        """Set ``parameters`` and ``coverage``; ``loaded`` holds the state-dict keys that the file gives."""
        sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
        self.parameters = sum(sizes.values())
        self.coverage = sum(size for name, size in sizes.items() if name in loaded) / max(self.parameters, 1)

    def __str__(self) -> str:
        groups: dict[tuple[str, str], list[str]] = {}
        for entry in sorted(self.entries, key=lambda e: ACTIONS.index(e.action)):
            key, detail = _pattern(entry.key), entry.detail
            if entry.action == 'copied':
                key = ''
            elif entry.action == 'renamed':
                key, detail = f'{key} {_pattern(detail)}', ''
            elif entry.action == 'borrowed':
                key, detail = f'{key} {_pattern(detail)}', ''
            groups.setdefault((entry.action, detail), []).append(key)
        lines = [f'{self.checkpoint} ({self.source}, container {self.container!r}) into {self.model}:']
        for (action, detail), keys in groups.items():
            text = f'{listed(dict.fromkeys(keys), 2)}: {detail}'.removesuffix(': ')
            lines.append(f'  {action:<12} {len(keys):>5}  {text}'.rstrip())
        lines.append(f'  {100 * self.coverage:.1f} % of {self.parameters:,} parameters are from the file')
        return '\n'.join([*lines, *(f'  note: {note}' for note in self.notes)])

    def save(self, path: str | Path) -> None:
        """Write the table and then every tensor on a line of its own."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f'{entry.action}\t{entry.key}\t{entry.detail}'.rstrip() for entry in self.entries]
        path.write_text('\n'.join([str(self), '', *lines, '']))


def _pattern(key: str) -> str:
    return re.sub(r'(?<=\.)\d+(?=\.)', '*', key)
