"""The published weights: what the metafiles list, and which file a name stands for."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from vidtx_mm.labels import suggest
from vidtx_mm.weights.fetch import is_url

from .configs import config_root

SHORT = {'Top 1 Accuracy': 'top-1', 'Top 5 Accuracy': 'top-5'}


@dataclass(frozen=True)
class ModelInfo:
    """One published model.

    Attributes:
        config: the name of the config that runs it or starts from it.
        weights: the id by which ``checkpoint=`` and ``--checkpoint`` know its weights.
        data: the data set it was trained on.
        result: the published figures, '' where none are.
        parameters: their number, None where it is not recorded.
        url: the address of the weights, '' where none are published.
        page: a page that leads to the weights where no direct address does.
    """

    config: str
    weights: str
    data: str
    result: str
    parameters: int | None
    url: str
    page: str

    @property
    def pretrained(self) -> bool:
        """Return whether the weights have an address."""
        return bool(self.url)


@cache
def _entries() -> tuple[ModelInfo, ...]:
    files = sorted((config_root() / 'metafiles').glob('*.yml'))
    models = (model for file in files for model in yaml.safe_load(file.read_text(encoding='utf-8'))['Models'])
    return tuple(map(_info, models))


def _info(model: dict[str, Any]) -> ModelInfo:
    metrics = [pair for result in model.get('Results', ()) for pair in result['Metrics'].items()]
    meta = model['Metadata']
    return ModelInfo(
        config=Path(model['Config']).stem,
        weights=model['Name'],
        data=meta['Training Data'],
        result=', '.join(f'{SHORT.get(name, name)} {value}' for name, value in metrics),
        parameters=meta.get('Parameters'),
        url=model['Weights'] if isinstance(model['Weights'], str) else '',
        page=model.get('Weights Page', ''),
    )


def list_models(pattern: str = '*', pretrained: bool = False) -> list[ModelInfo]:
    """List published models whose config or weights id matches a pattern such as 'uniformer*'.

    Args:
        pattern: as in a shell: ``*``, ``?`` and ``[...]``.
        pretrained: leave out models whose weights have no address.
    """
    return [info for info in _matching(pattern) if info.pretrained or not pretrained]


def _matching(pattern: str) -> Iterator[ModelInfo]:
    return (info for info in _entries() if fnmatch(info.config, pattern) or fnmatch(info.weights, pattern))


def published(config: str) -> ModelInfo | None:
    """Return the weights published for a config's own task: those of its name, else others on the same data."""
    own = [info for info in _entries() if info.config == config and info.pretrained]
    data = next((info.data for info in _entries() if info.weights == config), None)
    ranked = sorted((info for info in own if info.data == data), key=lambda info: info.weights != config)
    return ranked[0] if ranked else None


def find_checkpoint(checkpoint: str | Path) -> str:
    """The path or web address that a checkpoint's name stands for: a file, an address, or a weights id of the zoo.

    Raises:
        FileNotFoundError: if it is a path that does not exist.
        ValueError: if the id is unknown or nothing is published under it.
    """
    name = str(checkpoint)
    if is_url(name) or Path(name).expanduser().exists():
        return name
    by_id = {info.weights: info for info in _entries()}
    if info := by_id.get(name):
        if not (info.url or info.page):
            raise ValueError(f'no address is published for the weights {name!r}: give a file of your own')
        return info.url or info.page
    if '/' in name or Path(name).suffix:
        raise FileNotFoundError(f'{name}: no such checkpoint')
    raise ValueError(f'unknown weights {name!r}: {suggest(name, [i.weights for i in _entries() if i.pretrained])}')
