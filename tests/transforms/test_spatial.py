import numpy as np
import pytest
from mmaction.datasets.transforms import CenterCrop, Resize, ThreeCrop

from vidtx_mm.transforms import RandomShortSide, ResizeShortSide, ScaleJitter, UniformCrop


def clip(height, width, frames=2):
    """Pixels that name their row and column."""
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.float32)
    imgs = [frame + (0, 0, t) for t in range(frames)]
    return dict(imgs=imgs, img_shape=(height, width), modality='RGB')


def noise(height, width, frames=2):
    imgs = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    return dict(imgs=list(imgs), img_shape=(height, width), modality='RGB')


def corners(results, frames=2):
    first_frames = results['imgs'][::frames]
    return [tuple(int(v) for v in img[0, 0, :2]) for img in first_frames]


@pytest.mark.parametrize(
    ('height', 'width', 'expected'),
    [
        (256, 341, [(16, 0), (16, 59), (16, 117)]),
        (341, 256, [(0, 16), (59, 16), (117, 16)]),
        (256, 256, [(16, 0), (16, 16), (16, 32)]),
        (224, 299, [(0, 0), (0, 38), (0, 75)]),
        (224, 224, [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_three_crops(height, width, expected):
    results = UniformCrop(224)(clip(height, width))
    assert len(results['imgs']) == 6
    assert all(img.shape[:2] == results['img_shape'] == (224, 224) for img in results['imgs'])
    assert corners(results) == expected
    assert [tuple(box[1::-1]) for box in results['crop_bbox'][::2]] == expected
    assert [img[0, 0, 2] for img in results['imgs']] == [0, 1] * 3, 'all frames of a crop stay together'


def test_center_crop_rounds_up():
    assert corners(UniformCrop(224, num_crops=1)(clip(257, 340))) == [(17, 58)]


def test_three_crop_of_the_host_refuses_a_smaller_crop():
    with pytest.raises(AssertionError):
        ThreeCrop(224)(clip(256, 340))


def test_same_crops_as_the_host_where_it_can():
    ours, host = UniformCrop(224)(clip(224, 300)), ThreeCrop(224)(clip(224, 300))
    assert set(corners(ours)) == set(corners(host))


def test_crop_larger_than_the_frame():
    with pytest.raises(ValueError, match=r'crop_size=224.*\(200 x 300\).*Resize'):
        UniformCrop(224)(clip(200, 300))


def test_number_of_crops():
    with pytest.raises(ValueError, match='num_crops=2'):
        UniformCrop(224, num_crops=2)


def test_scale_jitter_draws_height_and_width_on_their_own():
    np.random.seed(0)
    shapes = [ScaleJitter((0.9, 1.33))(clip(100, 200))['img_shape'] for _ in range(200)]
    heights, widths = np.array(shapes).T / np.array([[100], [200]])
    for factors in (heights, widths):
        assert 0.89 <= factors.min() < 0.95 and 1.28 < factors.max() <= 1.33
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.2


def test_scale_jitter_resizes_all_frames_alike():
    results = ScaleJitter((1.2, 1.2))(noise(10, 20))
    assert [img.shape for img in results['imgs']] == [(12, 24, 3)] * 2


def test_scale_jitter_probability():
    np.random.seed(0)
    changed = sum(ScaleJitter((1.5, 1.5), prob=0.3)(clip(2, 2))['img_shape'] == (3, 3) for _ in range(1000))
    assert changed == pytest.approx(300, abs=60)


def test_scale_jitter_range():
    with pytest.raises(ValueError, match='scale_range'):
        ScaleJitter((1.3, 0.9))


@pytest.mark.parametrize(
    ('height', 'width', 'size', 'expected'),
    [
        (256, 340, 224, (224, 297)),
        (340, 256, 224, (297, 224)),
        (240, 427, 256, (256, 455)),
        (256, 340, 256, (256, 340)),
        (97, 427, 224, (224, 986)),
    ],
)
def test_long_side_is_rounded_down(height, width, size, expected):
    """floor(long / short * size), as PySlowFast and dmvr."""
    results = ResizeShortSide(size)(noise(height, width))
    assert results['img_shape'] == results['imgs'][0].shape[:2] == expected
    assert results['imgs'][0].dtype == np.uint8


def test_resize_of_the_host_rounds_to_the_nearest():
    results = Resize((-1, 224))(noise(256, 340))
    assert results['img_shape'] == (224, 298)


def tensorflow_resize(frame, height, width):
    """``tf.image.resize`` with half-pixel centers, then ``tf.cast`` to uint8, which cuts."""

    def neighbors(length, new):
        at = (np.arange(new) + 0.5) * length / new - 0.5
        low = np.floor(at)
        return np.maximum(low, 0).astype(int), np.minimum(np.ceil(at), length - 1).astype(int), at - low

    frame = frame.astype(float)
    top, bottom, y = neighbors(frame.shape[0], height)
    left, right, x = neighbors(frame.shape[1], width)
    y, x = y[:, None, None], x[None, :, None]
    upper = frame[top][:, left] * (1 - x) + frame[top][:, right] * x
    lower = frame[bottom][:, left] * (1 - x) + frame[bottom][:, right] * x
    return (upper * (1 - y) + lower * y + 1e-6).astype(np.uint8)


@pytest.mark.parametrize('truncate', [True, False])
def test_truncated_values_are_those_of_tensorflow(truncate):
    before = noise(60, 81)
    frame = ResizeShortSide(47, truncate)(dict(before))['imgs'][0]
    difference = tensorflow_resize(before['imgs'][0], 47, 63).astype(int) - frame
    if truncate:
        assert np.mean(difference != 0) < 0.005, 'a value that is an integer but for rounding errors'
    else:
        assert set(difference.flat) == {-1, 0} and difference.mean() < -0.3, 'half of the values are rounded up'


def test_scale_jitter_truncates():
    before = noise(60, 80)
    frame = ScaleJitter((1.2, 1.2))(dict(before))['imgs'][0]
    assert np.mean(frame != tensorflow_resize(before['imgs'][0], 72, 96)) < 0.005


def test_flat_frames_keep_their_value():
    """Interpolation of equal values must not fall below them before it is cut."""
    for value in range(256):
        frame = ResizeShortSide(31, truncate=True)(dict(imgs=[np.full((40, 53, 3), value, np.uint8)]))['imgs'][0]
        assert (frame == value).all()


def test_center_crop_of_vivit_is_that_of_the_host():
    """``tf.image.resize_with_crop_or_pad`` starts at (length - size) // 2; three crops start at the ceiling."""
    results = clip(257, 341)
    assert corners(CenterCrop(224)(dict(results))) == [(16, 58)]
    assert corners(UniformCrop(224, num_crops=1)(dict(results))) == [(17, 59)]


def test_random_short_side_is_uniform():
    np.random.seed(0)
    sides = np.array([RandomShortSide((20, 40))(noise(30, 47, 1))['img_shape'] for _ in range(1000)])
    assert sides[:, 0].min() == 20 and sides[:, 0].max() == 40
    assert sides[:, 0].mean() == pytest.approx(30, abs=0.6)
    assert (sides[:, 1] == 47 * sides[:, 0] // 30).all()


def test_inverse_short_side_is_uniform_in_the_inverse():
    np.random.seed(0)
    transform = RandomShortSide((20, 40), inverse=True)
    sides = np.array([min(transform(noise(30, 40, 1))['img_shape']) for _ in range(1000)])
    assert sides.min() == 20 and sides.max() == 40
    assert np.mean(1 / sides) == pytest.approx((1 / 20 + 1 / 40) / 2, rel=0.02)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: ResizeShortSide(0), 'size=0'),
        (lambda: RandomShortSide((320, 256)), r'scale_range=\(320, 256\)'),
    ],
)
def test_wrong_sides(build, message):
    with pytest.raises(ValueError, match=message):
        build()
