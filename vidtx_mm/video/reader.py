"""Frames of a video by index."""

import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import numpy as np

from .errors import VideoError
from .timeout import call_within

T = TypeVar('T')
Source = str | os.PathLike | bytes | BinaryIO | Callable[[], Any]
MAX_ASPECT = 16

BACKENDS = {
    'pyav': ('av', 'pyav', 'PyAVBackend'),
    'decord': ('decord', 'others', 'DecordBackend'),
    'opencv': ('cv2', 'others', 'OpenCVBackend'),
    'torchcodec': ('torchcodec', 'others', 'TorchCodecBackend'),
}
AUTO = ('pyav', 'decord', 'opencv')


class Backend(Protocol):
    """A decoder: frames of one opened video, by ascending index."""

    num_frames: int
    fps: float
    rotation: int

    def frames(
        self, wanted: Sequence[int], size_of: Callable[[int, int], tuple[int, int]]
    ) -> Iterator[tuple[int, np.ndarray, bool]]:
        """Yield (index, RGB frame, whether it is this very frame) for each of ``wanted``, which ascends."""
        ...

    def close(self) -> None: ...


class VideoReader:
    """Read frames of a video by index, in display order, upright, as RGB.

    Args:
        source: a path, the bytes of a file, an open binary file, or a function that returns one of them, in time.
        backend: 'pyav', 'decord', 'opencv', 'torchcodec', or 'auto' for the first of the first three that imports.
        num_threads: decoding threads. Data loader workers want one; more help a tool that reads a single video.
        short_side: reduce frames to this short side while they are converted (bicubic, aspect ratio kept); smaller
            videos are left as they are.
        max_side: reduce frames with a longer side in the same way, so that one 8K file cannot take the memory of a run.
        timeout: seconds that opening, and each call of ``get_frames``, may take.
        name: the video in error messages; by default the path.

    Raises ``VideoError``, here and in ``get_frames``, for whatever cannot be read in time: the message names the file
    and the reason. Frames of an aspect ratio beyond 16:1 count as unreadable: resizing by the short side would make
    them huge.
    """

    def __init__(
        self,
        source: Source,
        backend: str = 'pyav',
        num_threads: int = 1,
        short_side: int | None = None,
        max_side: int = 2048,
        timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or (str(source) if isinstance(source, (str, os.PathLike)) else 'video in memory')
        self.short_side, self.max_side, self.timeout = short_side, max_side, timeout
        self.clamped = False
        self._backend: Backend | None = None
        open_backend = backend_class(backend)
        self._backend = self._guarded(lambda: open_backend(_checked(source), num_threads))

    def __len__(self) -> int:
        """The number of frames, as counted in the file; damaged files may hold fewer that can be decoded."""
        return self._opened.num_frames

    @property
    def fps(self) -> float:
        """Average number of frames per second."""
        return self._opened.fps

    @property
    def height(self) -> int:
        """Height of the frames as ``get_frames`` returns them."""
        return self.get_frames([0]).shape[1]

    @property
    def width(self) -> int:
        """Width of the frames as ``get_frames`` returns them."""
        return self.get_frames([0]).shape[2]

    @property
    def rotation(self) -> int:
        """Degrees, counterclockwise, by which frames are turned to stand upright: 0, 90, 180 or 270."""
        self.get_frames([0])
        return self._opened.rotation

    def get_frames(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return frames as uint8 (N, H, W, 3) in RGB; ``indices`` may repeat and stand in any order.

        An index beyond the last frame that can be decoded gets that frame; ``clamped`` is then true.
        """
        indices = np.asarray(indices)
        if indices.ndim != 1 or not len(indices) or not np.issubdtype(indices.dtype, np.integer) or indices.min() < 0:
            raise ValueError(f'{self.name}: frame indices must be a list of whole numbers from 0 on, got {indices}')
        return self._guarded(lambda: self._frames(indices))

    def iter_frames(self, indices: Sequence[int]) -> Iterator[np.ndarray]:
        """Yield the frames of ascending indices one by one, in memory that does not grow with their number.

        A frame that cannot be decoded in its place is left out.
        """
        last = -1
        try:
            for index, frame, _ in self._opened.frames(list(indices), self._size):
                if index > last:
                    last = index
                    yield frame
        except GeneratorExit:
            raise
        except Exception as error:
            raise error if isinstance(error, VideoError) else VideoError(str(error), self.name) from error

    def close(self) -> None:
        """Close the file; a reader whose call was abandoned leaves that to the call."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def __enter__(self) -> 'VideoReader':
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    @property
    def _opened(self) -> Backend:
        if self._backend is None:
            raise VideoError('is closed', self.name)
        return self._backend

    def _guarded(self, function: Callable[[], T]) -> T:
        """Run in time and turn every error into one that names the video."""
        try:
            return call_within(self.timeout, function)
        except VideoError:
            raise
        except TimeoutError as error:
            self._backend = None
            raise VideoError(f'decoding was {error}', self.name) from error
        except Exception as error:
            reason = getattr(error, 'strerror', None) or str(error) or type(error).__name__
            raise VideoError(reason, self.name) from error

    def _frames(self, indices: np.ndarray) -> np.ndarray:
        backend = self._opened
        inside = np.minimum(indices, backend.num_frames - 1)
        self.clamped |= bool((inside < indices).any())
        frames = np.empty(0)
        for index, frame, exact in backend.frames(np.unique(inside).tolist(), self._size):
            if not frames.size:
                frames = np.empty((len(indices), *frame.shape), np.uint8)
            frames[inside == index] = frame
            self.clamped |= not exact
        return frames

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size (height, width) that frames are reduced to."""
        short, long = sorted((height, width))
        if long > MAX_ASPECT * short:
            raise ValueError(f'frames of {width}x{height} are longer than {MAX_ASPECT}:1')
        scale = min(1, self.max_side / long, self.short_side / short if self.short_side else 1)
        return round(height * scale), round(width * scale)


def backend_class(backend: str) -> Callable[[str | BinaryIO, int], Backend]:
    """Return the class of a backend; 'auto' is the first of PyAV, decord and OpenCV that imports."""
    if backend not in ('auto', *BACKENDS):
        raise ValueError(f"backend={backend!r}: choose 'auto' or one of {list(BACKENDS)}")
    for name in AUTO if backend == 'auto' else [backend]:
        package, module, class_name = BACKENDS[name]
        try:
            import_module(package)
        except (ImportError, OSError, RuntimeError) as error:  # the latter from TorchCodec without a system FFmpeg
            missing: Exception = error
            continue
        return getattr(import_module(f'vidtx_mm.video.{module}'), class_name)
    raise ImportError(f'backend={backend!r} needs the package {package}, which does not import: {missing}') from missing


def _checked(source: Source) -> str | BinaryIO:
    """Return an absolute path (FFmpeg takes 'a:b.mp4' for a protocol) or a binary file."""
    loaded: Any = source() if callable(source) else source
    if isinstance(loaded, bytes):
        return io.BytesIO(loaded)
    if not isinstance(loaded, (str, os.PathLike)):
        return loaded
    path = Path(loaded).absolute()
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise ValueError('is a folder, not a video')
    if not stat.S_ISREG(mode):
        raise ValueError('is not a regular file')
    return str(path)
