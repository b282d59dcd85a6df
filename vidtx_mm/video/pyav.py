"""Frames by index through PyAV, which carries its own FFmpeg."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from typing import Any, BinaryIO, NamedTuple

import av
import numpy as np
from av.video.reformatter import VideoReformatter

# Codecs whose packets hold one shown frame each and may be skipped one by one when no other frame needs them.
SKIPS_UNREFERENCED = ('h264', 'hevc')


class Key(NamedTuple):
    """A packet where decoding can start."""

    pts: int
    dts: int


class PyAVBackend:
    """Frames of the first video stream, numbered as a decoder shows them that starts at the beginning.

    All packets are read once (about 1 ms for 10 s of video; nothing is decoded). Their presentation times are the
    index: exact for variable frame rate, B-frames, edit lists and any first time, and true where the header counts
    frames that the file lacks. Where times are missing, repeated, or those of decoding (AVI with B-frames), frames are
    counted from the start and nothing is sought.
    """

    def __init__(self, source: str | BinaryIO, num_threads: int) -> None:
        self.source, self.num_threads = source, num_threads
        self.rotation = 0
        self._reduce, self._convert = VideoReformatter().reformat, VideoReformatter().reformat
        self._open()
        packets = [(p.pts, _dts(p), p.is_keyframe, p.is_discard) for p in self._demux() if p.size]
        times = [pts for pts, _, _, is_discard in packets if not is_discard]
        if not times:
            raise ValueError('has no video frames')
        self.num_frames = len(times)
        self.keys = sorted(Key(pts, dts) for pts, dts, is_key, _ in packets if is_key and pts is not None)
        decoding_times = 'avi' in self.container.format.name and self.stream.codec_context.has_b_frames
        self.seekable = len(set(times) - {None}) == len(times) and bool(self.keys) and not decoding_times
        self.times = sorted(times) if self.seekable else []
        self.fps = float(self.stream.average_rate or self.stream.guessed_rate or Fraction(25))

    def _open(self) -> None:
        if not isinstance(self.source, str):
            self.source.seek(0)
        # Playlists renamed to videos must not reach for the network.
        options = {'protocol_whitelist': 'file'} if isinstance(self.source, str) else {}
        self.container: Any = av.open(self.source, metadata_errors='replace', container_options=options)
        pictures = av.stream.Disposition.attached_pic
        streams = [stream for stream in self.container.streams.video if not stream.disposition & pictures]
        if not streams:
            raise ValueError('has no video stream')
        self.stream = streams[0]
        # One thread switches slice threading off too. Leaving frame threads early can deadlock (PyAV 1849, 1861).
        self.stream.codec_context.thread_count = self.num_threads
        if self.num_threads > 1:
            self.stream.thread_type = 'AUTO'

    def close(self) -> None:
        self.container.close()

    def frames(
        self, wanted: Sequence[int], size_of: Callable[[int, int], tuple[int, int]]
    ) -> Iterator[tuple[int, np.ndarray, bool]]:
        """Yield (index, RGB frame, whether it is this very frame) for each of ``wanted``, which ascends.

        A frame that cannot be decoded is replaced by the last one before it, or by the first one of the file.
        ``size_of(height, width)`` says what size frames are reduced to.
        """
        remaining = deque(wanted)
        missing: deque[int] = deque()
        if self.seekable:
            for index, frame in self._sought(remaining, missing):
                yield index, self._image(frame, size_of), True
        for index, frame, exact in self._counted(missing + remaining):
            yield index, self._image(frame, size_of), exact

    def _sought(self, wanted: deque[int], missing: deque[int]) -> Iterator[tuple[int, Any]]:
        """Take from ``wanted`` by seeking; frames that do not appear in their place go to ``missing``."""
        needed = {self.times[index] for index in wanted}
        while wanted:
            key = self._key(wanted[0])
            for dts, frame in self._decoded(key, needed):
                while wanted and frame.pts is not None and self.times[wanted[0]] < frame.pts:
                    missing.append(wanted.popleft())
                if wanted and self.times[wanted[0]] == frame.pts:
                    yield wanted.popleft(), frame
                if not wanted or (self._key(wanted[0]) != key and self._key(wanted[0]).dts > dts):
                    break
            else:
                return

    def _counted(self, wanted: deque[int]) -> Iterator[tuple[int, Any, bool]]:
        """Take from ``wanted`` by decoding everything from the start."""
        if not wanted:
            return
        last = None
        for count, (_, frame) in enumerate(self._decoded(None)):
            place = frame.pts if self.seekable else count
            while place is not None and wanted and self._place(wanted[0]) < place:
                yield wanted.popleft(), last or frame, False
            if wanted and self._place(wanted[0]) == place:
                yield wanted.popleft(), frame, True
            if not wanted:
                return
            last = frame
        if last is None:
            raise ValueError('no frame can be decoded')
        for index in wanted:
            yield index, last, False

    def _place(self, index: int) -> int:
        return self.times[index] if self.seekable else index

    def _key(self, index: int) -> Key:
        """Return the last packet at or before a frame where decoding can start."""
        return self.keys[max(bisect_right(self.keys, self.times[index], key=lambda key: key.pts) - 1, 0)]

    def _decoded(self, key: Key | None, needed: set[int] | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (decoding time of the newest packet, frame) from a key packet, or from the start.

        With ``needed`` (presentation times), frames that neither it nor another frame needs may be left out.
        """
        dts = 0
        for packet in self._packets(key):
            context = self.stream.codec_context
            if needed is not None and context.name in SKIPS_UNREFERENCED:
                context.skip_frame = 'DEFAULT' if packet.pts in needed or not packet.size else 'NONREF'
            dts = _dts(packet) if packet.size else dts
            with suppress(av.FFmpegError):
                for frame in context.decode(packet):
                    yield dts, frame

    def _packets(self, key: Key | None) -> Iterator[Any]:
        """Return the packets from a key packet on, or from the start where the file cannot be sought."""
        if key is not None:
            for time in key:
                with suppress(av.FFmpegError):
                    self.container.seek(time, stream=self.stream)
                    packets = self._demux()
                    first = next(packets)
                    if first.size and _dts(first) <= key.dts:
                        return chain([first], packets)
        self.close()
        self._open()
        return self._demux()

    def _demux(self) -> Iterator[Any]:
        """Yield packets up to the end or the first that cannot be read, and an empty one that drains the decoder."""
        try:
            yield from self.container.demux(self.stream)
        except av.FFmpegError:
            yield av.Packet()

    def _image(self, frame: Any, size_of: Callable[[int, int], tuple[int, int]]) -> np.ndarray:
        self.rotation = frame.rotation % 360
        height, width = size_of(frame.height, frame.width)
        if (height, width) != (frame.height, frame.width) and frame.format.name.startswith('yuv'):
            # Reducing three YUV planes, two of them small, takes a third of the time of reducing into RGB.
            frame = self._reduce(frame, width, height, interpolation='BICUBIC', threads=1)
        resized = (height, width) != (frame.height, frame.width)
        interpolation = 'BICUBIC' if resized else None
        image = self._convert(frame, width, height, 'rgb24', interpolation=interpolation, threads=1).to_ndarray()
        return np.rot90(image, round(self.rotation / 90)) if self.rotation else image


def _dts(packet: Any) -> int:
    """Return the decoding time; Matroska leaves it out where it is the time of presentation."""
    return packet.pts if packet.dts is None else packet.dts
