"""VideoInit and VideoDecode beside MMAction2's DecordInit and DecordDecode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmaction.datasets.transforms import DecordDecode, DecordInit
from videos import forward, write_video

from vidtx_mm.transforms import SampleClips, VideoDecode, VideoInit
from vidtx_mm.transforms.sampling import PROTOCOLS
from vidtx_mm.video import VideoError


def run(steps: list, **results: Any) -> dict:
    for step in steps:
        results = step(results)
    return results


@pytest.fixture(scope='module')
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp('decoding') / 'a.mp4', count=60, options={'g': '12'})


@pytest.mark.parametrize('test_mode', [False, True])
@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_frames_of_every_protocol_are_decords_and_those_of_a_forward_decode(
    protocol: str, test_mode: bool, video: Path
) -> None:
    expected = forward(video)
    for seed in range(3):
        sample = SampleClips(
            protocol, clip_len=8, frame_interval=4, num_clips=4 if test_mode else 1, test_mode=test_mode
        )
        np.random.seed(seed)
        ours = run([VideoInit(), sample, VideoDecode()], filename=str(video), start_index=0)
        np.random.seed(seed)
        host = run([DecordInit(), sample, DecordDecode()], filename=str(video), start_index=0)
        assert np.array_equal(ours['imgs'], host['imgs'])
        assert np.array_equal(ours['imgs'], expected[ours['frame_inds']])


def test_keys_are_the_hosts(video: Path) -> None:
    boxes = dict(gt_bboxes=np.array([[0.25, 0.5, 0.75, 1.0]]), proposals=np.array([[0.0, 0.0, 0.5, 0.5]]))
    ours, host = (
        run([init, decode], filename=str(video), frame_inds=np.array([[3, 0]]), **boxes)
        for init, decode in ((VideoInit(), VideoDecode()), (DecordInit(), DecordDecode()))
    )
    assert ours.keys() == host.keys()
    for key, value in host.items():
        assert np.array_equal(ours[key], value), key


def test_memory_backends_and_options(video: Path) -> None:
    steps = [VideoInit(io_backend='local', short_side=24), VideoDecode()]
    results = run(steps, filename=str(video), frame_inds=np.arange(3))
    assert results['img_shape'] == (24, 32)


def test_clamping_is_logged_once_per_file(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr('vidtx_mm.transforms.decoding.print_log', lambda message, **_: logged.append(message))
    decode = VideoDecode()
    for _ in range(2):
        run([VideoInit(), decode], filename=str(video), frame_inds=np.array([59, 60]))
    (message,) = logged
    assert message.startswith(f'{video}: some frames cannot be decoded')


def test_errors_name_the_file(tmp_path: Path) -> None:
    for options in (dict(), dict(io_backend='local')):
        with pytest.raises(VideoError, match='none.mp4: No such file'):
            VideoInit(**options)(dict(filename=str(tmp_path / 'none.mp4')))
    with pytest.raises(VideoError, match='^nowhere://host/a.mp4: '):
        VideoInit()(dict(filename='nowhere://host/a.mp4'))
