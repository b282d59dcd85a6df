"""Opening and decoding of videos, in place of MMAction2's DecordInit and DecordDecode."""

import logging
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from mmaction.datasets.transforms import DecordDecode
from mmcv.transforms import BaseTransform
from mmengine.fileio import get
from mmengine.fileio.backends import backends
from mmengine.logging import print_log

from vidtx_mm.checks import Count, OneOf, Positive, PositiveFloat, choose
from vidtx_mm.registry import TRANSFORMS
from vidtx_mm.video import BACKENDS, VideoReader


class BlankVideo:
    """One black frame: stands in for a video that could not be read."""

    name, fps, clamped = 'blank video', 25.0, False

    def __len__(self) -> int:
        return 1

    def get_frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        return np.zeros((len(indices), 240, 320, 3), np.uint8)

    def close(self) -> None:
        """Nothing is open."""


@TRANSFORMS.register_module()
class VideoInit(BaseTransform):
    """Open a video; ``VideoDecode`` reads its frames. The keys are those of MMAction2's ``DecordInit``.

    Local files are opened by path, others (URLs, or another ``io_backend``) are read into memory by MMEngine. Every
    error is a ``VideoError`` that names the file; ``VideoListDataset`` says what becomes of it.

    Args:
        backend: 'pyav', 'decord', 'opencv', 'torchcodec' or 'auto'; see ``vidtx_mm.video.VideoReader``.
        num_threads: decoding threads.
        short_side: reduce frames to this short side while they are converted; saves about a fifth of the time at
            1280x720 and changes pixels a little (docs/data.md).
        max_side: reduce frames whose long side is longer.
        timeout: seconds that opening, and then decoding, may take.
        io_backend: 'disk', or a name of MMEngine's file backends.
        kwargs: arguments of that file backend.

    Required key: filename. Added: video_reader, total_frames, avg_fps.
    """

    def __init__(
        self,
        backend: Annotated[str, OneOf(('auto', *BACKENDS))] = 'pyav',
        num_threads: Count = 1,
        short_side: Positive | None = None,
        max_side: Positive = 2048,
        timeout: PositiveFloat | None = 60,
        io_backend: str = 'disk',
        **kwargs: Any,
    ) -> None:
        choose('io_backend', io_backend, ('disk', *backends))
        if io_backend == 'disk' and kwargs:
            raise TypeError(f'unknown argument {", ".join(kwargs)}; a file backend needs its io_backend')
        self.reader: dict[str, Any] = dict(
            backend=backend, num_threads=num_threads, short_side=short_side, max_side=max_side, timeout=timeout
        )
        self.file_backend = None if io_backend == 'disk' else dict(backend=io_backend, **kwargs)

    def transform(self, results: dict) -> dict:
        reader = BlankVideo() if results.get('unreadable') else self._open(results['filename'])
        return results | dict(video_reader=reader, total_frames=len(reader), avg_fps=reader.fps)

    def __repr__(self) -> str:
        options = ', '.join(f'{name}={value!r}' for name, value in self.reader.items())
        return f'{type(self).__name__}({options}, file_backend={self.file_backend})'

    def _open(self, filename: str) -> VideoReader:
        in_memory = self.file_backend is not None or '://' in filename
        source: Any = partial(get, filename, backend_args=self.file_backend) if in_memory else filename
        return VideoReader(source, name=filename, **self.reader)


@TRANSFORMS.register_module()
class VideoDecode(DecordDecode):
    """Decode the sampled frames of ``VideoInit``. The keys are those of MMAction2's ``DecordDecode``.

    A frame beyond the last that can be decoded gets that frame, which is logged once per file and process.

    Required keys: video_reader, frame_inds. Added: imgs, original_shape, img_shape; boxes are scaled to the frames.
    """

    def __init__(self) -> None:
        super().__init__()
        self._clamped: set[str] = set()

    def _decord_load_frames(self, container: VideoReader, frame_inds: np.ndarray) -> list[np.ndarray]:
        frames = list(container.get_frames(frame_inds))
        container.close()
        if container.clamped and container.name not in self._clamped:
            self._clamped.add(container.name)
            message = f'{container.name}: some frames cannot be decoded; the last one before stands in for each'
            print_log(message, logger='current', level=logging.WARNING)
        return frames

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
