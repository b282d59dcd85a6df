import numpy as np
import pytest
from mmaction.datasets.transforms import ThreeCrop

from vidtx_mm.transforms import InverseRandomRescale, ScaleJitter, UniformCrop


def clip(height, width, frames=2):
    """Pixels that name their row and column."""
    rows, columns = np.mgrid[:height, :width]
    frame = np.stack([rows, columns, np.zeros_like(rows)], -1).astype(np.float32)
    imgs = [frame + (0, 0, t) for t in range(frames)]
    return dict(imgs=imgs, img_shape=(height, width), modality='RGB')


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
    results = ScaleJitter((1.2, 1.2))(clip(10, 20))
    assert [img.shape for img in results['imgs']] == [(12, 24, 3)] * 2


def test_scale_jitter_probability():
    np.random.seed(0)
    changed = sum(ScaleJitter((1.5, 1.5), prob=0.3)(clip(2, 2))['img_shape'] == (3, 3) for _ in range(1000))
    assert changed == pytest.approx(300, abs=60)


def test_scale_jitter_range():
    with pytest.raises(ValueError, match='scale_range'):
        ScaleJitter((1.3, 0.9))


def test_inverse_rescale_is_uniform_in_the_inverse():
    np.random.seed(0)
    results = [InverseRandomRescale((20, 40))(clip(30, 40, 1)) for _ in range(1000)]
    sides = np.array([r['short_edge'] for r in results])
    assert sides.min() == 20 and sides.max() == 40
    assert np.mean(1 / sides) == pytest.approx((1 / 20 + 1 / 40) / 2, rel=0.02)
    assert all(min(r['imgs'][0].shape[:2]) == side for r, side in zip(results, sides, strict=True))
