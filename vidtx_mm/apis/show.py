"""Videos with predictions written into them."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from vidtx_mm.video import VideoReader

MIN_SIDE = 240  # smaller frames are enlarged, so that letters can be read


def write_video(frames: Iterable[np.ndarray], file: Path, fps: float) -> None:
    """Write frames (H, W, 3) uint8 RGB as H.264, in even sizes as the codec asks."""
    import av

    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), 'w') as container:
        stream = None
        for frame in frames:
            frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]
            if stream is None:
                stream = container.add_stream('libx264', rate=max(round(fps), 1))
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = 'yuv420p'
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), 'rgb24')))
        if stream is not None:
            container.mux(stream.encode())


def label_frames(frames: Iterable[np.ndarray], lines: Sequence[str]) -> Iterator[np.ndarray]:
    """Write lines of text into the upper left corner of each frame, on a dark ground."""
    for frame in frames:
        zoom = -(-MIN_SIDE // min(frame.shape[:2]))
        frame = np.ascontiguousarray(frame.repeat(zoom, 0).repeat(zoom, 1))
        size = max(frame.shape[0] / 600, 0.4)
        step = round(34 * size)
        ground = frame[: step * len(lines) + round(8 * size)]
        ground[:] = ground // 3
        for row, line in enumerate(lines, start=1):
            place = (round(8 * size), step * row)
            cv2.putText(
                frame,
                line,
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                size,
                (255, 255, 255),
                max(round(2 * size), 1),
                cv2.LINE_AA,
            )
        yield frame


def show(video: str | Path, lines: Sequence[str], file: Path) -> None:
    """Write a copy of a video that shows some lines of text.

    Raises:
        VideoError: if the video cannot be read.
    """
    with VideoReader(video) as reader:
        write_video(label_frames(reader.iter_frames(range(len(reader))), lines), file, reader.fps)
