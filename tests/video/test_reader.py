"""VideoReader: frames equal to those of a forward decode, for every kind of file."""

import io
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from videos import DAMAGE, forward, write_audio, write_video

from vidtx_mm.video import BACKENDS, VideoError, VideoReader

RNG = np.random.default_rng(0)
X265 = {'x265-params': 'log-level=none:pools=1:keyint=10'}

KINDS: dict[str, dict[str, Any]] = {
    'h264.mp4': {},
    'key frames every 6.mp4': dict(options={'g': '6'}),
    'open gop.mp4': dict(options={'g': '6', 'x264-params': 'open-gop=1'}),
    'intra refresh.mp4': dict(options={'x264-params': 'intra-refresh=1:keyint=10:bframes=0'}),
    'h264.mkv': {},
    'h264.ts': dict(options={'g': '6'}),
    'h264 in.avi': {},
    'variable rate.mp4': dict(times=np.cumsum(RNG.integers(1, 9, 24)).tolist()),
    'late first frame.mkv': dict(times=[500 + 4 * index for index in range(24)]),
    'rotated 90.mp4': dict(rotation=90),
    'rotated 270.mp4': dict(rotation=-90),
    'rotated 180.mp4': dict(rotation=180),
    'hevc 10 bit.mp4': dict(codec='libx265', pix_fmt='yuv420p10le', options=X265),
    'vp9.webm': dict(codec='libvpx-vp9', options={'deadline': 'realtime', 'lag-in-frames': '8', 'g': '9'}),
    'av1.mp4': dict(codec='libsvtav1', options={'preset': '12', 'svtav1-params': 'lp=1'}, size=(64, 64)),
    'animated.gif': dict(codec='gif', pix_fmt='rgb8'),
    'xvid with b frames.avi': dict(codec='mpeg4', options={'bf': '2'}),
    'xvid.avi': dict(codec='mpeg4', options={'g': '6'}),
    'motion jpeg.avi': dict(codec='mjpeg', pix_fmt='yuvj420p'),
    'mpeg2.mpg': dict(codec='mpeg2video', options={'bf': '2'}),
    'odd sizes.mp4': dict(size=(49, 67), pix_fmt='yuv444p'),
    'one pixel.mp4': dict(size=(1, 1), pix_fmt='yuv444p'),
    'one frame.mp4': dict(count=1),
    'Ünïcode: 视频 %d.mp4': {},
}


@pytest.mark.parametrize('name', KINDS)
def test_frames_are_those_of_a_forward_decode(name: str, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, **KINDS[name])
    expected = forward(path)
    count = len(expected)
    with VideoReader(path) as reader:
        assert len(reader) == count == KINDS[name].get('count', 24)
        assert (reader.height, reader.width) == expected.shape[1:3]
        assert reader.rotation == KINDS[name].get('rotation', 0) % 360
        for indices in (range(count), [0], [count - 1], range(count // 3, count, 3), RNG.integers(0, count, 9)):
            assert np.array_equal(reader.get_frames(list(indices)), expected[list(indices)])
        assert not reader.clamped


@pytest.mark.parametrize('rotation', [90, 180, -90])
def test_frames_stand_upright_as_opencv_turns_them(rotation: int, tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', rotation=rotation)
    with VideoReader(path) as ours, VideoReader(path, backend='opencv') as opencv:
        assert np.array_equal(ours.get_frames([4, 9]), opencv.get_frames([4, 9]))


def test_an_edit_list_hides_the_frames_before_its_start(tmp_path: Path) -> None:
    times = [4 * index - 20 for index in range(24)]
    path = write_video(
        tmp_path / 'a.mp4', times=times, container={'use_editlist': '1', 'avoid_negative_ts': 'disabled'}
    )
    expected = forward(path)
    with VideoReader(path) as reader:
        assert len(reader) == len(expected) == 19
        assert np.array_equal(reader.get_frames([18, 0, 7]), expected[[18, 0, 7]])


@pytest.mark.parametrize('source', [lambda path: path.read_bytes(), lambda path: io.BytesIO(path.read_bytes()), str])
@pytest.mark.parametrize('name', ['h264.mp4', 'xvid with b frames.avi'])
def test_sources(name: str, source: Any, tmp_path: Path) -> None:
    path = write_video(tmp_path / name, **KINDS[name])
    with VideoReader(source(path)) as reader:
        assert reader.fps == 25
        assert np.array_equal(reader.get_frames([20, 3, 3]), forward(path)[[20, 3, 3]])


@pytest.mark.parametrize('backend', ['auto', *BACKENDS])
def test_backends_give_the_same_frames(backend: str, tmp_path: Path) -> None:
    if backend != 'auto':
        pytest.importorskip(BACKENDS[backend][0], exc_type=ImportError)
    path = write_video(tmp_path / 'a.mp4', options={'g': '6'})
    with VideoReader(path, backend=backend) as reader:
        assert (len(reader), reader.fps) == (24, 25)
        assert np.array_equal(reader.get_frames([17, 2, 9, 2]), forward(path)[[17, 2, 9, 2]])
    with VideoReader(path, backend=backend, short_side=24) as reader:
        assert reader.get_frames([0]).shape == (1, 24, 32, 3)


def test_unknown_and_missing_backends_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="backend='ffmpeg'.*'pyav'"):
        VideoReader(tmp_path / 'a.mp4', backend='ffmpeg')
    monkeypatch.setitem(BACKENDS, 'decord', ('no_such_package', 'others', 'DecordBackend'))
    with pytest.raises(ImportError, match="backend='decord' needs the package no_such_package"):
        VideoReader(tmp_path / 'a.mp4', backend='decord')


def test_auto_takes_the_first_backend_that_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKENDS, 'pyav', ('no_such_package', 'pyav', 'PyAVBackend'))
    monkeypatch.setitem(BACKENDS, 'decord', ('no_such_package', 'others', 'DecordBackend'))
    path = write_video(tmp_path / 'a.mp4')
    with VideoReader(path, backend='auto') as reader:
        assert np.array_equal(reader.get_frames([5]), forward(path)[[5]])
    with pytest.raises(VideoError, match='reads files only'):
        VideoReader(path.read_bytes(), backend='opencv')


def test_several_threads_give_the_same_frames(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', count=40, options={'g': '10'})
    expected = forward(path)
    for _ in range(5):
        with VideoReader(path, num_threads=3, timeout=30) as reader:
            assert np.array_equal(reader.get_frames([5, 23]), expected[[5, 23]])


def test_short_side_keeps_the_aspect_ratio_and_enlarges_nothing(tmp_path: Path) -> None:
    path = write_video(tmp_path / 'a.mp4', size=(60, 80))
    reader = VideoReader(path, short_side=30)
    assert (reader.height, reader.width) == (30, 40)
    halved = forward(path).reshape(24, 30, 2, 40, 2, 3).mean((2, 4))
    distances = np.abs(reader.get_frames([9])[0] - halved).mean((1, 2, 3))
    assert distances.argmin() == 9
    assert VideoReader(path, short_side=100).get_frames([0]).shape == (1, 60, 80, 3)
    assert VideoReader(path, max_side=40).get_frames([0]).shape == (1, 30, 40, 3)


@pytest.mark.parametrize('indices', [[], [-1], [0.5], [[0, 1]]])
def test_indices_are_checked(indices: list, tmp_path: Path) -> None:
    with (
        VideoReader(write_video(tmp_path / 'a.mp4')) as reader,
        pytest.raises(ValueError, match='a.mp4: frame indices'),
    ):
        reader.get_frames(indices)


def test_a_closed_reader_says_so(tmp_path: Path) -> None:
    reader = VideoReader(write_video(tmp_path / 'a.mp4'))
    reader.close()
    with pytest.raises(VideoError, match='a.mp4: is closed'):
        reader.get_frames([0])


@pytest.mark.parametrize('kind', DAMAGE)
def test_broken_files_are_named_with_the_reason(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f'{kind}.mp4'
    path.write_bytes(DAMAGE[kind](write_video(tmp_path / 'sound.mp4').read_bytes()))
    with pytest.raises(VideoError, match=f'{kind}.mp4: ') as error:
        VideoReader(path).get_frames([0])
    assert str(error.value) == f'{path}: {error.value.reason}'


@pytest.mark.parametrize(
    ('make', 'reason'),
    [
        (write_audio, 'no video stream'),
        (Path.mkdir, 'folder'),
        (os.mkfifo, 'regular file'),
        (str, 'No such file'),
        (lambda path: path.write_text('#EXTM3U\n#EXTINF:1,\nhttp://localhost:9/a.ts\n'), '.'),
    ],
)
def test_anything_but_a_video_is_refused(make: Any, reason: str, tmp_path: Path) -> None:
    make(tmp_path / 'a.mp4')
    with pytest.raises(VideoError, match=f'a.mp4: .*{reason}'):
        VideoReader(tmp_path / 'a.mp4', timeout=20)


def test_strips_are_refused(tmp_path: Path) -> None:
    with VideoReader(write_video(tmp_path / 'a.mp4', size=(2, 160))) as reader, pytest.raises(VideoError, match='16:1'):
        reader.get_frames([0])


def without_repeats(frames: np.ndarray) -> np.ndarray:
    changed = (frames[1:] != frames[:-1]).any((1, 2, 3))
    return frames[np.concatenate([[True], changed])]


@pytest.mark.parametrize('name', ['a.mkv', 'a.mp4', 'a.avi', 'a.webm'])
def test_a_cut_file_gives_what_it_holds(name: str, tmp_path: Path) -> None:
    """Any cut ends in the frames of a forward decode, or in one error with the name of the file."""
    codec = {'a.webm': 'libvpx-vp9', 'a.avi': 'mpeg4'}.get(name, 'libx264')
    whole = write_video(tmp_path / name, codec=codec, options={'g': '6'}, container={'movflags': 'faststart'})
    data = whole.read_bytes()
    cut = tmp_path / f'cut {name}'
    lengths = []
    for share in range(10, 100, 8):
        cut.write_bytes(data[: len(data) * share // 100])
        try:
            with VideoReader(cut, timeout=20) as reader:
                frames = reader.get_frames(range(24))
                lengths.append(len(reader))
        except VideoError as error:
            assert f'{cut}: ' in str(error)
        else:
            expected = forward(cut)
            assert np.array_equal(without_repeats(frames), without_repeats(expected))
            assert reader.clamped == (len(expected) < 24)
    assert lengths == sorted(lengths)
    assert len(set(lengths)) >= 5


def test_zeroed_blocks_cost_frames_at_most(tmp_path: Path) -> None:
    sound = write_video(tmp_path / 'a.mp4', size=(96, 128), options={'g': '8'}).read_bytes()
    start = sound.index(b'mdat') + 4
    path = tmp_path / 'zeroed.mp4'
    for offset in np.random.default_rng(0).integers(start, len(sound) - 4000, 12):
        path.write_bytes(sound[:offset] + bytes(400) + sound[offset + 400 :])
        try:
            with VideoReader(path, timeout=20) as reader:
                assert reader.get_frames(range(24)).shape == (24, 96, 128, 3)
        except VideoError as error:
            assert 'zeroed.mp4: ' in str(error)


class Blocked(io.BytesIO):
    """A file that never answers."""

    def read(self, size: int | None = -1) -> bytes:
        threading.Event().wait()
        return b''


def test_a_file_that_blocks_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match='slow.mp4: decoding was not done after 0.2 s'):
        VideoReader(Blocked(), timeout=0.2, name='slow.mp4')


def test_decoding_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = VideoReader(write_video(tmp_path / 'a.mp4'), timeout=0.2)
    monkeypatch.setattr(reader._opened, 'frames', lambda *args: threading.Event().wait())
    with reader, pytest.raises(VideoError, match='a.mp4: decoding was not done'):
        reader.get_frames([0])
    with pytest.raises(VideoError, match='a.mp4: is closed'):
        reader.get_frames([0])


@pytest.mark.parametrize('size', [(2160, 3840), (4320, 7680)])
def test_large_videos_do_not_take_the_memory_of_a_run(size: tuple[int, int], tmp_path: Path) -> None:
    """Four clips of 32 frames, as in a test with several views, take at most 1.1 GiB above the imports.

    The imports take 0.4 GiB with a CPU build of torch and more with CUDA builds.
    """
    path = tmp_path / 'large.mp4'
    with av.open(str(path), 'w') as container:
        stream: Any = container.add_stream('libx264', rate=25, options={'preset': 'ultrafast'})
        stream.height, stream.width = size
        for value in (80, 160):
            frame = av.VideoFrame(size[1], size[0], 'yuv420p')
            for plane in frame.planes:
                plane.update(bytes([value]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    code = (
        'import sys; from vidtx_mm.transforms import VideoDecode, VideoInit; import numpy as np\n'
        'from vidtx_mm.benchmark.memory import resident_peak\n'
        'imports = resident_peak()\n'
        'results = VideoDecode()(VideoInit()(dict(filename=sys.argv[1])) | dict(frame_inds=np.arange(128) % 2))\n'
        'print(*results["img_shape"], round(resident_peak() - imports))'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    height, width, mebibytes = map(int, done.stdout.split()[-3:])
    assert (height, width) == (1152, 2048)
    assert mebibytes < 1.1 * 2**10
