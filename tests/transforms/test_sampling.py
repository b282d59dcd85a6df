import numpy as np
import pytest
from mmaction.datasets.transforms import SampleFrames, UniformSample

from vidtx_mm.transforms import SampleClips, SampleSegments
from vidtx_mm.transforms.sampling import PROTOCOLS, extracted_frames

LENGTHS = [1, 7, 33, 63, 64, 65, 66, 130, 251, 300]


def sample(transform, num_frames, **results):
    results = transform(dict(total_frames=num_frames, start_index=0, **results))
    return results['frame_inds'].reshape(results['num_clips'], results['clip_len'])


def spread(start, span, clip_len, num_frames):
    """PySlowFast: ``clip_len`` values from the first to the last frame of the span, cut, and held at the last frame."""
    step = (span - 1) / (clip_len - 1)
    return [min(int(start + i * step + 1e-4), num_frames - 1) for i in range(clip_len)]


@pytest.mark.parametrize('num_clips', [1, 4])
@pytest.mark.parametrize('n', LENGTHS)
def test_video_swin(n, num_clips):
    clips = sample(SampleClips('video_swin', 32, 2, num_clips, test_mode=True), n)
    for k, clip in enumerate(clips):
        start = int((k + 0.5) * (n - 64 + 1) / num_clips) if n >= 64 else 0
        assert clip.tolist() == [(start + 2 * i) % n for i in range(32)]


@pytest.mark.parametrize('num_clips', [1, 4])
@pytest.mark.parametrize('n', LENGTHS)
def test_uniformer(n, num_clips):
    clips = sample(SampleClips('uniformer', 16, 4, num_clips, test_mode=True), n)
    slack = max(n - 64, 0)
    starts = [slack // 2] if num_clips == 1 else [k * (slack // (num_clips - 1)) for k in range(num_clips)]
    assert clips.tolist() == [spread(start, 64, 16, n) for start in starts]


@pytest.mark.parametrize('n', LENGTHS)
def test_timesformer_starts_at_the_start_and_its_paper_in_the_middle(n):
    (code,) = sample(SampleClips('timesformer', 8, 32, test_mode=True), n)
    (paper,) = sample(SampleClips('timesformer_paper', 8, 32, test_mode=True), n)
    assert code.tolist() == spread(0, 256, 8, n)
    assert paper.tolist() == spread(max(n - 256, 0) // 2, 256, 8, n)


@pytest.mark.parametrize('num_clips', [1, 4])
@pytest.mark.parametrize('n', LENGTHS)
def test_vivit(n, num_clips):
    clips = sample(SampleClips('vivit', 32, 2, num_clips, test_mode=True), n)
    slack = max(n - 64, 0)
    starts = [slack // 2] if num_clips == 1 else [int(slack * k / (num_clips - 1)) for k in range(num_clips)]
    assert clips.tolist() == [[(start + 2 * i) % n for i in range(32)] for start in starts]


@pytest.mark.parametrize(
    ('clip_len', 'interval', 'step'), [(16, 4, 4.2), (32, 4, 4.0968), (16, 8, 8.467), (8, 32, 36.43)]
)
def test_spread_steps_are_wider_than_the_interval(clip_len, interval, step):
    (clip,) = sample(SampleClips('uniformer', clip_len, interval, test_mode=True), clip_len * interval)
    assert clip[0] == 0 and clip[-1] == clip_len * interval - 1
    assert np.diff(clip).mean() == pytest.approx(step, rel=1e-3)


@pytest.mark.parametrize(('protocol', 'last'), [('video_swin', 6), ('uniformer', 5), ('timesformer', 5), ('vivit', 8)])
def test_training_starts_reach_the_whole_range(protocol, last):
    """18 frames, a span of 4 x 3: integers up to 6, reals below 6; ViViT's up to 8, after which a frame would lack."""
    np.random.seed(0)
    transform = SampleClips(protocol, 4, 3, num_clips=2000)
    assert set(sample(transform, 18)[:, 0]) == set(range(last + 1))


def test_timesformer_paper_trains_as_the_code_does():
    assert PROTOCOLS['timesformer_paper'].train_starts is PROTOCOLS['timesformer'].train_starts


@pytest.mark.parametrize('protocol', PROTOCOLS)
@pytest.mark.parametrize('test_mode', [True, False])
def test_frames_exist_in_order(protocol, test_mode):
    np.random.seed(0)
    for n in LENGTHS:
        clips = sample(SampleClips(protocol, 8, 4, num_clips=3, test_mode=test_mode), n)
        assert clips.shape == (3, 8)
        assert clips.min() >= 0 and clips.max() < n
        if n >= 32 + 3:
            assert (np.diff(clips, axis=1) > 0).all()


def test_target_fps_scales_the_span():
    (clip,) = sample(SampleClips('timesformer', 8, 4, target_fps=30, test_mode=True), 300, avg_fps=60.0)
    assert clip.tolist() == spread(0, 64, 8, 300)


def test_target_fps_without_a_frame_rate():
    with pytest.raises(KeyError, match='VideoInit'):
        sample(SampleClips('timesformer', 8, 4, target_fps=30), 300)


def test_start_index_is_added():
    results = SampleClips('vivit', 4, test_mode=True)(dict(total_frames=4, start_index=1))
    assert results['frame_inds'].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize('protocol', PROTOCOLS)
def test_sample_frames_of_the_host_differs(protocol):
    kwargs = dict(clip_len=16, frame_interval=4, num_clips=4, test_mode=True)
    ours, host = SampleClips(protocol, **kwargs), SampleFrames(**kwargs)
    assert any((sample(ours, n) != sample(host, n)).any() for n in LENGTHS)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(protocol='i3d', clip_len=8), "'video_swin', 'uniformer'"),
        (dict(protocol='vivit', clip_len=0), 'clip_len=0'),
        (dict(protocol='vivit', clip_len=8, target_fps=30), 'target_fps=30'),
    ],
)
def test_wrong_options(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SampleClips(**kwargs)


def test_empty_video_is_named():
    with pytest.raises(ValueError, match='a.mp4 has no frames'):
        sample(SampleClips('vivit', 4), 0, filename='a.mp4')


@pytest.mark.parametrize('n', [1, 5, 16, 33, 40, 77])
def test_segments_test_frame_is_the_floor_of_the_mean(n):
    (clip,) = sample(SampleSegments(16, test_mode=True), n)
    segment = (n - 1) / 16
    assert clip.tolist() == [int((np.round(segment * i) + np.round(segment * (i + 1))) // 2) for i in range(16)]


def test_segments_against_uniform_sample():
    ahead = [
        sample(SampleSegments(16, test_mode=True), n) - sample(UniformSample(16, test_mode=True), n)
        for n in range(16, 90)
    ]
    assert {int(d) for difference in ahead for d in difference.flat} == {0, 1}


@pytest.mark.parametrize('test_mode', [True, False])
@pytest.mark.parametrize('n', [1, 5, 16, 33, 50, 77])
def test_segments_of_uniformer_are_those_of_uniform_sample(n, test_mode):
    np.random.seed(5)
    ours = sample(SampleSegments(16, 'uniformer', test_mode=test_mode), n)
    np.random.seed(5)
    assert (ours == sample(UniformSample(16, test_mode=test_mode), n)).all()


# Images per frame, as FFmpeg 5.1 writes them: ffmpeg -i VIDEO -r 30 %05d.png, WebM files of numbered frames.
EXTRACTED = {
    (12, 31): '2233232233232233232233232233232',
    (24, 20): '11121121112111121121',
    (25, 20): '11121111211112111121',
    (15, 10): '2222222222',
    (30, 10): '1111111111',
    (60, 20): '11110101010101010101',
    (30000 / 1001, 40): '1' * 40,
}


@pytest.mark.parametrize(('fps', 'num_frames'), EXTRACTED)
def test_extracted_frames_are_those_of_ffmpeg(fps, num_frames):
    copies = np.bincount(extracted_frames(num_frames, fps, 30), minlength=num_frames)
    assert ''.join(map(str, copies)) == EXTRACTED[fps, num_frames]


@pytest.mark.parametrize('protocol', ['uniformer', 'timesformer'])
@pytest.mark.parametrize('n', [12, 31, 48])
def test_virtual_fps_samples_the_extracted_sequence(protocol, n):
    """The published rules on the numbers of the extracted images, then the frame that each image shows."""
    extracted = extracted_frames(n, 12.0, 30)
    segment = (len(extracted) - 1) / 16
    starts, stops = (np.round(segment * (np.arange(16) + k)).astype(int) for k in (0, 1))
    expected = starts + int(segment / 2) if protocol == 'uniformer' else (starts + stops) // 2
    transform = SampleSegments(16, protocol, virtual_fps=30, test_mode=True)
    assert sample(transform, n, avg_fps=12.0).tolist() == [extracted[expected].tolist()]


def test_virtual_fps_in_training():
    """30 images of 12 frames: each segment of 29 / 4 images reaches the frames that its images show."""
    np.random.seed(0)
    transform = SampleSegments(4, 'uniformer', virtual_fps=30)
    drawn = np.concatenate([sample(transform, 12, avg_fps=12.0) for _ in range(500)])
    extracted = extracted_frames(12, 12.0, 30)
    ends = [0, 7, 14, 22, 29]
    for i in range(4):
        assert set(drawn[:, i]) == set(extracted[ends[i] : ends[i + 1] + 1])


def test_virtual_fps_without_a_frame_rate():
    with pytest.raises(KeyError, match='SampleSegments: virtual_fps=30 needs the frame rate'):
        sample(SampleSegments(8, virtual_fps=30), 30)


def test_segments_of_an_unknown_protocol():
    with pytest.raises(ValueError, match="protocol='vivit'.*'video_swin', 'timesformer', 'uniformer'"):
        SampleSegments(8, protocol='vivit')
