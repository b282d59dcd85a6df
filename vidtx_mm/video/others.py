"""Frames by index through decord, OpenCV and TorchCodec, where they are installed."""

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import BinaryIO

import cv2
import numpy as np

SizeOf = Callable[[int, int], tuple[int, int]]


def _reduced(frame: np.ndarray, size_of: SizeOf) -> np.ndarray:
    height, width = size_of(*frame.shape[:2])
    same = (height, width) == frame.shape[:2]
    return frame if same else cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)


class DecordBackend:
    """decord 0.6: no rotation, and no word about damaged frames."""

    rotation = 0

    def __init__(self, source: str | BinaryIO, num_threads: int) -> None:
        import decord

        self._reader = decord.VideoReader(source, num_threads=num_threads)
        self.num_frames, self.fps = len(self._reader), self._reader.get_avg_fps()

    def frames(self, wanted: Sequence[int], size_of: SizeOf) -> Iterator[tuple[int, np.ndarray, bool]]:
        for index, frame in zip(wanted, self._reader.get_batch(wanted).asnumpy(), strict=True):
            yield index, _reduced(frame, size_of), True

    def close(self) -> None:
        self._reader = None


class OpenCVBackend:
    """OpenCV's own FFmpeg, which turns frames upright itself. Reads files, and counts frames from the start."""

    rotation = 0

    def __init__(self, source: str | BinaryIO, num_threads: int) -> None:
        if not isinstance(source, str):
            raise ValueError("backend='opencv' reads files only: pass a path, or backend='pyav'")
        self._path, self._options = source, [cv2.CAP_PROP_N_THREADS, num_threads]
        capture = self._capture()
        self.num_frames = round(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.fps = capture.get(cv2.CAP_PROP_FPS)

    def _capture(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(self._path, cv2.CAP_FFMPEG, self._options)
        if not capture.isOpened():
            raise ValueError('OpenCV cannot open it')
        return capture

    def frames(self, wanted: Sequence[int], size_of: SizeOf) -> Iterator[tuple[int, np.ndarray, bool]]:
        capture, read = self._capture(), 0
        for index in wanted:
            while read < index and capture.grab():
                read += 1
            done, frame = capture.read()
            if not done:
                raise ValueError(f'ends after {read} of {self.num_frames} frames')
            read += 1
            yield index, _reduced(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), size_of), True

    def close(self) -> None:
        """Nothing to do: a capture lives as long as it is read."""


class TorchCodecBackend:
    """TorchCodec, which brings its own seeking and needs FFmpeg installed in the system."""

    rotation = 0

    def __init__(self, source: str | BinaryIO, num_threads: int) -> None:
        decoders = import_module('torchcodec.decoders')  # optional, so nothing that the package requires
        self._decoder = decoders.VideoDecoder(source, dimension_order='NHWC', num_ffmpeg_threads=num_threads)
        self.num_frames, self.fps = len(self._decoder), self._decoder.metadata.average_fps

    def frames(self, wanted: Sequence[int], size_of: SizeOf) -> Iterator[tuple[int, np.ndarray, bool]]:
        for index, frame in zip(wanted, self._decoder.get_frames_at(list(wanted)).data.numpy(), strict=True):
            yield index, _reduced(frame, size_of), True

    def close(self) -> None:
        self._decoder = None
