"""Videos of all kinds, sound and damaged, encoded by PyAV."""

import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def frames(count: int, height: int, width: int, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield RGB frames of a moving pattern, no two alike."""
    rng = np.random.default_rng(seed)
    tiles = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    pattern = tiles.repeat(8, 0).repeat(8, 1)
    for index in range(count):
        frame = np.roll(pattern, (index % 8, 2 * index), (0, 1))[:height, :width].copy()
        frame[:, : max(1, width * index // count)] //= 2
        yield frame


def write_video(
    path: Path,
    count: int = 24,
    size: tuple[int, int] = (48, 64),
    codec: str = 'libx264',
    pix_fmt: str = 'yuv420p',
    options: Mapping[str, str] | None = None,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    container: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Path:
    """Encode ``count`` frames of (height, width); ``times`` are presentation times in 1/100 s, ``container``
    options of the muxer.
    """
    base = Fraction(1, 100 if times else 25)
    with av.open(str(path), 'w', options=dict(container or {})) as output:
        stream: Any = output.add_stream(codec, rate=25, options=dict(options or {}))
        stream.height, stream.width, stream.pix_fmt = *size, pix_fmt
        stream.codec_context.time_base = base
        for index, image in enumerate(frames(count, *size, seed)):
            frame = av.VideoFrame.from_ndarray(image, format='rgb24').reformat(format=pix_fmt)
            frame.pts, frame.time_base = times[index] if times else index, base
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    if rotation:
        path.write_bytes(rotated(path.read_bytes(), rotation))
    return path


def rotated(mp4: bytes, rotation: int) -> bytes:
    """Write a display matrix into the header of the track: degrees counterclockwise."""
    cos, sin = round(math.cos(math.radians(rotation))), round(math.sin(math.radians(rotation)))
    before, after = (
        struct.pack('>9i', *(value << 16 for value in (c, -s, 0, s, c, 0, 0, 0)), 1 << 30)
        for c, s in ((1, 0), (cos, sin))
    )
    track = mp4.index(b'tkhd')
    return mp4[:track] + mp4[track:].replace(before, after, 1)


def write_audio(path: Path) -> Path:
    with av.open(str(path), 'w') as container:
        stream: Any = container.add_stream('aac', rate=16000, layout='mono')
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format='fltp', layout='mono')
        frame.rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def forward(path: Path) -> np.ndarray:
    """Decode the whole video from its start: (N, H, W, 3) in RGB, upright. Packets that fail are left out."""
    decoded = []
    with av.open(str(path)) as container:
        stream: Any = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            with suppress(av.FFmpegError):
                decoded += [
                    np.rot90(frame.to_ndarray(format='rgb24'), frame.rotation % 360 // 90) for frame in packet.decode()
                ]
    return np.stack(decoded)


# Broken files, each from the bytes of a sound one.
DAMAGE = {
    'truncated': lambda data: data[: len(data) // 2],
    'no moov': lambda data: data.replace(b'moov', b'lost'),
    'empty': lambda data: b'',
    'text': lambda data: b'this is no video\n' * 50,
}
