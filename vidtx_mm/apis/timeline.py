"""Classes along a long video: windows that slide over one pass of decoding."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose
from mmengine.registry import DefaultScope

from vidtx_mm.video import VideoReader

from .predict import Scored, best
from .preprocess import Preprocess
from .recognizer import Recognizer, pipeline_steps

SPREAD_SECONDS = 3.0  # a window of models that spread their frames over a whole video
PICTURES, PICTURE_SIDE, LINES = 12, 120, 6


@dataclass(frozen=True)
class Window:
    """A piece of a video.

    Attributes:
        start: seconds from the start of the video to its first frame.
        end: seconds to its end.
        predictions: the best classes, best first.
    """

    start: float
    end: float
    predictions: list[Scored]


def timeline(
    recognizer: Recognizer, video: str | Path, stride: float | None = None, topk: int = 5, batch: int = 4
) -> Iterator[Window]:
    """Score windows that slide over a video, each as long as the clips of the model.

    Every frame is decoded once, and memory does not grow with the length of the video. The last window ends with the
    video; a video shorter than a window gives one.

    Args:
        recognizer: from :func:`vidtx_mm.apis.recognizer.load_recognizer`.
        video: the file.
        stride: seconds from a window to the next; half a window by default.
        topk: classes of each window.
        batch: windows that are computed together.

    Raises:
        VideoError: if the video cannot be read.
    """
    rule = Preprocess.of(recognizer.cfg)
    transform = _after_decoding(recognizer)
    with VideoReader(video) as reader:
        spacing = seconds_per_frame(rule, reader.fps)
        step = max(1, round(stride / spacing)) if stride else max(1, rule.clip_len // 2)
        clips = sliding(_frames(reader, spacing), rule.clip_len, step)
        while group := list(islice(clips, batch)):
            samples = [transform(_decoded(frames)) for _, frames in group]
            for (first, frames), scores in zip(group, recognizer.score(samples), strict=True):
                start = first * spacing
                yield Window(start, start + len(frames) * spacing, best(recognizer, scores, topk))


def seconds_per_frame(rule: Preprocess, fps: float) -> float:
    """Return the time from a frame of a clip to the next."""
    if rule.frame_interval is None:
        return SPREAD_SECONDS / rule.clip_len
    return rule.frame_interval / (rule.target_fps or fps)


def sliding(frames: Iterator[np.ndarray], length: int, step: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yield (index of the first frame, frames) of windows; the last one ends with the frames, filled up if need be."""
    kept: deque[np.ndarray] = deque(maxlen=length)
    count, ended = 0, 0
    for count, frame in enumerate(frames, start=1):
        kept.append(frame)
        if count >= length and (count - length) % step == 0:
            ended = count
            yield count - length, list(kept)
    if kept and ended < count:
        yield max(count - length, 0), [*kept, *[kept[-1]] * (length - len(kept))]


def _frames(reader: VideoReader, spacing: float) -> Iterator[np.ndarray]:
    """Yield the frames at multiples of ``spacing`` seconds, repeated where the video has fewer."""
    wanted = np.round(np.arange(0, len(reader), spacing * reader.fps)).astype(int).clip(max=len(reader) - 1)
    indices, repeats = np.unique(wanted, return_counts=True)
    for frame, times in zip(reader.iter_frames(indices.tolist()), repeats, strict=False):
        yield from [frame] * times


def _after_decoding(recognizer: Recognizer) -> Compose:
    """Build what the config's validation does with decoded frames."""
    steps = pipeline_steps(recognizer.cfg, 'one')
    places = [place for place, step in enumerate(steps) if step['type'].endswith('Decode')]
    if not places:
        raise ValueError(f'{recognizer.cfg.filename}: its validation decodes no video')
    with DefaultScope.overwrite_default_scope(recognizer.cfg.get('default_scope', 'mmaction')):
        return Compose(steps[places[0] + 1 :])


def _decoded(frames: list[np.ndarray]) -> dict:
    """Return a sample as a decoder leaves it."""
    shape = frames[0].shape[:2]
    return dict(
        imgs=list(frames),
        original_shape=shape,
        img_shape=shape,
        clip_len=len(frames),
        num_clips=1,
        frame_interval=1,
        modality='RGB',
        label=-1,
    )


def write_csv(rows: Sequence[Window], file: Path) -> None:
    """Write a line for each window: start, end, then class and probability of the best ones."""
    ranks = range(1, len(rows[0].predictions) + 1) if rows else ()
    with file.open('w', newline='', encoding='utf-8') as out:
        writer = csv.writer(out)
        writer.writerow(['start', 'end', *(name for rank in ranks for name in (f'label{rank}', f'probability{rank}'))])
        for row in rows:
            cells = [cell for one in row.predictions for cell in (one['label'], f'{one["probability"]:.4f}')]
            writer.writerow([f'{row.start:.2f}', f'{row.end:.2f}', *cells])


def draw_timeline(rows: Sequence[Window], video: str | Path, file: Path) -> None:
    """Draw frames of the video above the probabilities of its classes over time."""
    from matplotlib.figure import Figure

    peaks: dict[str, float] = {}
    for row in rows:
        for one in row.predictions:
            peaks[one['label']] = max(peaks.get(one['label'], 0), one['probability'])
    labels = sorted(peaks, key=lambda label: -peaks[label])[:LINES]
    figure = Figure(figsize=(14, 5), layout='constrained')
    above, below = figure.subplots(2, 1, height_ratios=(1, 2))
    with VideoReader(video, short_side=PICTURE_SIDE) as reader:
        pictures = reader.get_frames(np.linspace(0, len(reader) - 1, PICTURES).round().astype(int))
    above.imshow(np.concatenate(list(pictures), axis=1), aspect='auto')
    above.axis('off')
    edges = [row.start for row in rows] + [rows[-1].end]
    for label in labels:
        values = [
            next((one['probability'] for one in row.predictions if one['label'] == label), np.nan) for row in rows
        ]
        below.stairs(values, edges, baseline=None, label=label, linewidth=1.6)  # gaps where others are better
    below.set(xlabel='seconds', ylabel='probability', xlim=(edges[0], edges[-1]), ylim=(0, 1.02))
    below.legend(loc='upper left', bbox_to_anchor=(1, 1), frameon=False)
    below.spines[['top', 'right']].set_visible(False)
    figure.savefig(file, dpi=110, facecolor='white')
