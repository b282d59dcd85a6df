"""Frame sampling by the rules of the published training and test code."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from vidtx_mm.checks import OneOf, Positive, Rule
from vidtx_mm.registry import TRANSFORMS

FrameRate = Annotated[float, Rule('a frame rate of at most 1000', lambda fps: 0 < fps <= 1000)]


@dataclass(frozen=True)
class Span:
    """A clip of ``clip_len`` frames, ``interval`` apart, in a video of ``num_frames`` frames."""

    num_frames: int
    clip_len: int
    interval: float

    @property
    def length(self) -> float:
        return self.clip_len * self.interval

    @property
    def slack(self) -> float:
        return max(self.num_frames - self.length, 0)


def _any_integer(span: Span, num_clips: int) -> np.ndarray:
    return np.random.randint(max(int(span.num_frames - span.length) + 1, 1), size=num_clips)


def _any_integer_that_fits(span: Span, num_clips: int) -> np.ndarray:
    return np.random.randint(max(int(span.num_frames - span.length + span.interval), 1), size=num_clips)


def _any_fraction(span: Span, num_clips: int) -> np.ndarray:
    return np.random.uniform(0, span.slack, size=num_clips)


def _segment_centers(span: Span, num_clips: int) -> np.ndarray:
    segment = (span.num_frames - span.length + 1) / num_clips
    if span.num_frames < span.length:
        return np.zeros(num_clips, dtype=int)
    return (np.arange(num_clips) * segment + segment / 2).astype(int)


def _both_ends(span: Span, num_clips: int) -> np.ndarray:
    if num_clips == 1:
        return np.array([np.floor(span.slack / 2)])
    return np.arange(num_clips) * np.floor(span.slack / (num_clips - 1))


def _segment_starts(span: Span, num_clips: int) -> np.ndarray:
    return span.slack * np.arange(num_clips) / num_clips


def _even_steps(span: Span, num_clips: int) -> np.ndarray:
    if num_clips == 1:
        return np.array([span.slack // 2], dtype=int)
    return np.linspace(0, span.slack, num_clips, dtype=np.float32).astype(int)


def _exact(start: float, span: Span) -> np.ndarray:
    return int(start) + np.arange(span.clip_len) * int(span.interval)


def _spread(start: float, span: Span) -> np.ndarray:
    # torch's float32 linspace, as the official code: its roundings decide which frame a whole number falls on.
    return torch.linspace(start, start + span.length - 1, span.clip_len).clamp(min=0).long().numpy()


def _loop(indices: np.ndarray, num_frames: int) -> np.ndarray:
    return indices % num_frames


def _clamp(indices: np.ndarray, num_frames: int) -> np.ndarray:
    return np.minimum(indices, num_frames - 1)


@dataclass(frozen=True)
class Protocol:
    """Rules for the starts of training and test clips, the frames of a clip, and short videos."""

    train_starts: Callable[[Span, int], np.ndarray]
    test_starts: Callable[[Span, int], np.ndarray]
    frames: Callable[[float, Span], np.ndarray]
    overrun: Callable[[np.ndarray, int], np.ndarray]


PROTOCOLS = {
    'video_swin': Protocol(_any_integer, _segment_centers, _exact, _loop),
    'uniformer': Protocol(_any_fraction, _both_ends, _spread, _clamp),
    'timesformer': Protocol(_any_fraction, _segment_starts, _spread, _clamp),
    'timesformer_paper': Protocol(_any_fraction, _both_ends, _spread, _clamp),
    'vivit': Protocol(_any_integer_that_fits, _even_steps, _exact, _loop),
}


def _num_frames(transform: BaseTransform, results: dict) -> int:
    if results['total_frames'] < 1:
        raise ValueError(f'{type(transform).__name__}: {results.get("filename", "the video")} has no frames')
    return results['total_frames']


def _frame_rate(transform: BaseTransform, option: str, results: dict) -> float:
    fps = results.get('avg_fps')
    if not fps:
        raise KeyError(
            f'{type(transform).__name__}: {option}={getattr(transform, option)} needs the frame rate of the video '
            f'(avg_fps), which VideoInit sets; for frame folders leave {option} out'
        )
    return fps


def _repr(transform: BaseTransform, *names: str) -> str:
    options = ', '.join(f'{name}={getattr(transform, name)!r}' for name in names)
    return f'{type(transform).__name__}({options})'


@TRANSFORMS.register_module()
class SampleClips(BaseTransform):
    """Sample clips as the named publication does. MMAction2's ``SampleFrames`` picks other frames in each case.

    With N frames, a clip of ``clip_len`` T, ``frame_interval`` r, span S = T * r and n clips:

    ===================== ==================== ============================== ===================== ==============
    ``protocol``          training start       test starts, k = 0 ... n-1      frames of a clip      short videos
    ===================== ==================== ============================== ===================== ==============
    ``video_swin``        integer in [0, N-S]  int((k + 1/2) * (N-S+1) / n)   start + i*r           start again
    ``uniformer``         real in [0, N-S]     k * floor((N-S) / (n-1)),      T values from start   repeat the
                                               n=1: floor((N-S) / 2)          to start+S-1, cut     last frame
    ``timesformer``       real in [0, N-S]     k * (N-S) / n                  as ``uniformer``      as ``uniformer``
    ``timesformer_paper`` real in [0, N-S]     as ``uniformer``: the middle   as ``uniformer``      as ``uniformer``
    ``vivit``             integer in           k * (N-S) / (n-1), cut,        start + i*r           start again
                          [0, N-S+r)           n=1: floor((N-S) / 2)
    ===================== ==================== ============================== ===================== ==============

    ``SampleFrames`` covers both ends in tests (k * (N-S+r-1) / (n-1), rounded), uses steps of exactly r and starts
    again in short videos.

    Sources: Video-Swin-Transformer ``mmaction/datasets/pipelines/loading.py::SampleFrames``; UniFormer
    ``slowfast/datasets/decoder.py::get_start_end_idx`` with ``use_offset`` (Kinetics, UCF101); TimeSformer
    ``timesformer/datasets/decoder.py::get_start_end_idx``: a single test clip is the start of the video, where the
    paper (section 4) says the middle; ViViT: ``dmvr/processors.py::sample_sequence, sample_linspace_sequence``.

    Args:
        protocol: a line of the table.
        clip_len: frames of a clip.
        frame_interval: step between frames, in frames of ``target_fps`` where that is given.
        num_clips: clips per video.
        target_fps: scale the span to videos of another frame rate (``avg_fps`` of ``VideoInit``), in frames per
            second. TimeSformer uses 30. For the protocols that spread T values over the span.
        test_mode: fixed starts in place of random ones.

    Required keys: total_frames, start_index, avg_fps (with ``target_fps``). Added: frame_inds, clip_len,
    frame_interval, num_clips.
    """

    def __init__(
        self,
        protocol: Annotated[str, OneOf(PROTOCOLS)],
        clip_len: Positive,
        frame_interval: Positive = 1,
        num_clips: Positive = 1,
        target_fps: FrameRate | None = None,
        test_mode: bool = False,
    ) -> None:
        self.rules = PROTOCOLS[protocol]
        if target_fps is not None and self.rules.frames is not _spread:
            raise ValueError(f'protocol={protocol!r} steps by whole frames and takes no target_fps={target_fps}')
        self.protocol = protocol
        self.clip_len = clip_len
        self.frame_interval = frame_interval
        self.num_clips = num_clips
        self.target_fps = target_fps
        self.test_mode = test_mode

    def _interval(self, results: dict) -> float:
        if self.target_fps is None:
            return self.frame_interval
        return self.frame_interval * _frame_rate(self, 'target_fps', results) / self.target_fps

    def transform(self, results: dict) -> dict:
        num_frames = _num_frames(self, results)
        span = Span(num_frames, self.clip_len, self._interval(results))
        starts = (self.rules.test_starts if self.test_mode else self.rules.train_starts)(span, self.num_clips)
        clips = [self.rules.overrun(self.rules.frames(start, span), num_frames) for start in starts]
        results['frame_inds'] = (np.concatenate(clips) + results['start_index']).astype(np.int32)
        results.update(clip_len=self.clip_len, frame_interval=self.frame_interval, num_clips=self.num_clips)
        return results

    def __repr__(self) -> str:
        return _repr(self, 'protocol', 'clip_len', 'frame_interval', 'num_clips', 'target_fps', 'test_mode')


def extracted_frames(num_frames: int, fps: float, target_fps: float) -> np.ndarray:
    """Return the frame of the file that each image of ``ffmpeg -i FILE -r target_fps`` shows.

    FFmpeg writes a frame as often as it takes to get from the images written so far to the frame's time plus its
    duration, both in images, the latter rounded. A sum within 1.1 gives one image. Times are whole milliseconds, as in
    the WebM files of Something-Something v2, whose 12 frames per second give 2, 2, 3, 3, 2, 3 and again 2, 2, 3, 3, ...
    of 30 images.
    """
    written, copies = 0, np.empty(num_frames, dtype=int)
    duration = round(target_fps / fps) or target_fps / fps
    for frame in range(num_frames):
        missing = round(1000 * frame / fps) * target_fps / 1000 + duration - written
        copies[frame] = 0 if missing < -1.1 else 1 if missing <= 1.1 else int(missing + 0.5)
        written += copies[frame]
    return np.repeat(np.arange(num_frames), copies)


def _mean_of_ends(ends: np.ndarray, segment: float) -> np.ndarray:
    return (ends[:-1] + ends[1:]) // 2


def _half_after_start(ends: np.ndarray, segment: float) -> np.ndarray:
    return ends[:-1] + int(segment / 2)


SEGMENT_TEST_FRAMES = {'video_swin': _mean_of_ends, 'timesformer': _mean_of_ends, 'uniformer': _half_after_start}


@TRANSFORMS.register_module()
class SampleSegments(BaseTransform):
    """Sample one frame from each of ``clip_len`` equal segments, as published for Something-Something.

    With N frames and s = (N-1) / clip_len, segment i runs from round(s*i) to round(s*(i+1)), both included. Training
    draws any of its frames. Tests take the floor of the mean of its ends (``'video_swin'``, ``'timesformer'``) or
    round(s*i) + int(s/2) (``'uniformer'``). Without ``virtual_fps``, ``'uniformer'`` is MMAction2's ``UniformSample``.

    UniFormer and TimeSformer sample from images that FFmpeg extracted at 30 per second from the 12 of a video of
    Something-Something v2: ``virtual_fps=30`` samples from the same sequence, without writing it to disk. (Version 1 is
    published as images, which they use as they are.)

    Sources: Video-Swin-Transformer ``mmaction/datasets/pipelines/loading.py::SampleFrames`` with ``frame_uniform``;
    UniFormer ``slowfast/datasets/sth.py`` and ``DATASET.md``; TimeSformer
    ``timesformer/datasets/ssv2.py::get_seq_frames``.

    Args:
        clip_len: frames of a clip.
        protocol: ``'video_swin'``, ``'timesformer'`` or ``'uniformer'``.
        virtual_fps: sample from the sequence that FFmpeg extracts at this rate; needs ``avg_fps``, the frame rate of
            the video. Leave it out for folders of images.
        test_mode: fixed frames in place of random ones.

    Required keys: total_frames, start_index, avg_fps (with ``virtual_fps``). Added: frame_inds, clip_len,
    frame_interval, num_clips.
    """

    def __init__(
        self,
        clip_len: Positive,
        protocol: Annotated[str, OneOf(SEGMENT_TEST_FRAMES)] = 'video_swin',
        virtual_fps: FrameRate | None = None,
        test_mode: bool = False,
    ) -> None:
        self.clip_len = clip_len
        self.protocol = protocol
        self.virtual_fps = virtual_fps
        self.test_mode = test_mode

    def transform(self, results: dict) -> dict:
        num_frames = _num_frames(self, results)
        if self.virtual_fps is None:
            frames = np.arange(num_frames)
        else:
            frames = extracted_frames(num_frames, _frame_rate(self, 'virtual_fps', results), self.virtual_fps)
        segment = (len(frames) - 1) / self.clip_len
        ends = np.round(segment * np.arange(self.clip_len + 1)).astype(int)
        if self.test_mode:
            picked = SEGMENT_TEST_FRAMES[self.protocol](ends, segment)
        else:
            picked = np.random.randint(ends[:-1], ends[1:] + 1)
        results['frame_inds'] = (frames[picked] + results['start_index']).astype(np.int32)
        results.update(clip_len=self.clip_len, frame_interval=None, num_clips=1)
        return results

    def __repr__(self) -> str:
        return _repr(self, 'clip_len', 'protocol', 'virtual_fps', 'test_mode')
