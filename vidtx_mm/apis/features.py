"""Features of videos in one file or a folder, continued where an earlier call stopped."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from vidtx_mm.checks import choose

from .predict import read
from .recognizer import Recognizer, feature_map

POOLS = ('avg', 'map')


def extract_features(
    recognizer: Recognizer, videos: Iterable[str | Path], pool: str = 'avg', views: str = 'one'
) -> Iterator[tuple[str, np.ndarray | str]]:
    """Compute the features of videos, one by one.

    Args:
        recognizer: from :func:`vidtx_mm.apis.recognizer.load_recognizer`.
        videos: files.
        pool: 'avg' is one vector per video, (C,), averaged over positions and views, in all families; 'map' is what
            the backbone returns for each view: (views, C, T, H, W), or (views, C) for a backbone that pools.
        views: 'one' takes the view of the config's validation, 'test' those of its test.

    Yields:
        The video and its features, or the reason why it has none.
    """
    choose('pool', pool, POOLS)
    pipeline = recognizer.pipeline(views)
    for video in videos:
        sample = read(pipeline, video)
        yield str(video), sample if isinstance(sample, str) else _compute(recognizer.model, sample, pool)


@torch.no_grad()
def _compute(model: Any, sample: dict, pool: str) -> np.ndarray:
    clips = model.data_preprocessor(pseudo_collate([sample]), training=False)['inputs'].flatten(0, 1)
    features = torch.cat([feature_map(model.backbone(clip)) for clip in clips.split(1)])  # (views, C, ...)
    if pool == 'avg':
        features = features.flatten(1).unflatten(1, (features.shape[1], -1)).mean((0, 2))  # (C,)
    return features.float().cpu().numpy()


class Store(Protocol):
    """A place for features. ``done`` holds the videos that it has from an earlier call."""

    done: set[str]

    def add(self, video: str, features: np.ndarray) -> None:
        """Keep the features of one video."""

    def close(self) -> None:
        """Write what is not written yet."""


def open_store(out: Path, settings: Mapping[str, Any]) -> Store:
    """Open a file (.safetensors, a tensor for each video) or a folder (.npy files and ``index.jsonl``).

    Args:
        out: the file or folder; one that exists is continued.
        settings: what the features depend on.

    Raises:
        ValueError: if ``out`` holds features of other settings, or its name has another ending.
    """
    if out.suffix == '.safetensors':
        return FileStore(out, settings)
    if out.suffix and not out.is_dir():
        raise ValueError(f'{out}: give a folder, or a file that ends in .safetensors')
    return FolderStore(out, settings)


def _check_settings(out: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    other = [
        f'{key}={found.get(key)!r} there, {value!r} now' for key, value in wanted.items() if found.get(key) != value
    ]
    if other:
        raise ValueError(f'{out} holds features of other settings ({"; ".join(other)}): choose another --out')


class FileStore:
    """One .safetensors file with a tensor for each video, under its path; written when it is closed."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.settings = out, settings
        self.features: dict[str, np.ndarray] = {}
        if out.is_file():
            with safe_open(out, framework='np') as file:
                _check_settings(out, json.loads((file.metadata() or {}).get('settings', '{}')), settings)
            self.features = load_file(out)
        self.done = set(self.features)

    def add(self, video: str, features: np.ndarray) -> None:
        self.features[video] = features

    def close(self) -> None:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        part = self.out.with_suffix('.part')
        save_file(self.features, part, metadata=dict(settings=json.dumps(self.settings)))
        part.replace(self.out)


class FolderStore:
    """A .npy file for each video, and ``index.jsonl`` that names them: first the settings, then a line a video."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out, self.index = out, out / 'index.jsonl'
        out.mkdir(parents=True, exist_ok=True)
        if not self.index.exists():
            self.index.write_text(json.dumps(settings) + '\n', encoding='utf-8')
        found, *entries = map(json.loads, self.index.read_text(encoding='utf-8').splitlines())
        _check_settings(out, found, settings)
        self.done = {entry['video'] for entry in entries}

    def add(self, video: str, features: np.ndarray) -> None:
        name = f'{len(self.done):06d}.npy'
        np.save(self.out / name, features)
        entry = dict(video=video, file=name, shape=features.shape)
        with self.index.open('a', encoding='utf-8') as file:
            file.write(json.dumps(entry, ensure_ascii=False) + '\n')
        self.done.add(video)

    def close(self) -> None:
        """All is written already."""
