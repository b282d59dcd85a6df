"""Class names and scores for videos, as MMAction2's own test computes them."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from vidtx_mm.datasets import parse_line, read_lines

from .recognizer import Recognizer

EXTENSIONS = {'.mp4', '.avi', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv', '.3gp', '.ts'}


class Scored(TypedDict):
    """A class, its score as the host's test dumps it, and its probability.

    The two differ for heads that average the scores of their views before the softmax.
    """

    index: int
    label: str
    score: float
    probability: float


class Prediction(TypedDict):
    """The best classes of one video, best first; ``error`` says why there are none."""

    video: str
    predictions: list[Scored]
    error: str | None


def predict(
    recognizer: Recognizer, videos: Iterable[str | Path], topk: int = 5, views: str = 'test', batch: int = 1
) -> Iterator[Prediction]:
    """Predict the classes of videos, one by one or in batches.

    A video that cannot be read gets an entry with ``error``, and the rest goes on.

    Args:
        recognizer: from :func:`vidtx_mm.apis.recognizer.load_recognizer`.
        videos: files.
        topk: how many classes to return; of a head with several label sets, of each set.
        views: 'test' averages the views of the config's test, 'one' takes the view of its validation.
        batch: videos that are computed together, where their clips have one size.
    """
    if topk < 1 or batch < 1:
        raise ValueError(f'topk={topk}, batch={batch}: give whole numbers from 1 on')
    pipeline = recognizer.pipeline(views)
    pending: list[tuple[str, dict | str]] = []
    for video in videos:
        pending.append((str(video), read(pipeline, video)))
        if len(pending) == batch:
            yield from _score(recognizer, pending, topk)
            pending = []
    yield from _score(recognizer, pending, topk)


def read(pipeline: Any, video: str | Path) -> dict | str:
    """Return the sample of a video, or the error of its pipeline."""
    try:
        if not Path(video).is_file():
            raise FileNotFoundError('no such file')
        sample = pipeline(dict(filename=str(video), label=-1, start_index=0, modality='RGB'))
    except Exception as error:  # whatever decoders raise on damaged files
        text = str(error).strip().splitlines()
        return text[0] if text else type(error).__name__
    return 'cannot be decoded' if sample is None else sample


def _score(recognizer: Recognizer, pending: Sequence[tuple[str, dict | str]], topk: int) -> Iterator[Prediction]:
    def shape(entry: tuple[str, dict | str]) -> Any:
        return None if isinstance(entry[1], str) else entry[1]['inputs'].shape

    for size, group in groupby(pending, key=shape):
        entries = list(group)
        if size is None:
            yield from (Prediction(video=video, predictions=[], error=str(error)) for video, error in entries)
            continue
        scores = recognizer.score([sample for _, sample in entries])  # type: ignore[misc]
        for (video, _), row in zip(entries, scores, strict=True):
            yield Prediction(video=video, predictions=best(recognizer, row, topk), error=None)


def best(recognizer: Recognizer, scores: np.ndarray, topk: int) -> list[Scored]:
    """The classes of the highest scores (classes,), best first; those of each label set in turn."""
    probabilities = recognizer.probabilities(scores)
    found: list[Scored] = []
    start = 0
    for length in recognizer.splits:
        order = np.argsort(-scores[start : start + length], kind='stable')[:topk] + start
        found += [
            Scored(
                index=int(i),
                label=recognizer.classes[i],
                score=float(scores[i]),
                probability=float(probabilities[i]),
            )
            for i in order
        ]
        start += length
    return found


def find_videos(inputs: Iterable[str | Path]) -> list[str]:
    """The videos that files, folders and lists stand for.

    A folder stands for the videos below it. A list is a .txt or .csv file with a video on each line, perhaps followed
    by a label, relative to the list or to the working directory.

    Raises:
        ValueError: if a folder or a list holds no video.
        FileNotFoundError: if an input does not exist.
    """
    found: list[str] = []
    for name in inputs:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = [str(file) for file in sorted(path.rglob('*')) if file.suffix.lower() in EXTENSIONS]
            if not inside:
                raise ValueError(f'{path} holds no videos ({", ".join(sorted(EXTENSIONS))})')
            found += inside
        elif path.suffix in ('.txt', '.csv') and path.is_file():
            if not (lines := read_lines(str(path))):
                raise ValueError(f'{path} is an empty list; write a video on each line')
            found += [_listed(path, line) for _, line in lines]
        elif path.exists():
            found.append(str(path))
        else:
            raise FileNotFoundError(f'{name}: no such video, folder or list')
    return found


def _listed(file: Path, line: str) -> str:
    parsed = None if (file.parent / line).exists() else parse_line(line, 'auto', None)
    name = parsed[0] if parsed else line
    beside = file.parent / name
    return str(beside if beside.exists() else name)
