import colorsys

import numpy as np
import pytest
import torch
from mmaction.datasets.transforms import Flip, FormatShape
from mmaction.models import ActionDataPreprocessor
from mmaction.structures import ActionDataSample

from vidtx_mm.transforms import ClipColorJitter, NormalizedErasing, RandAugment
from vidtx_mm.transforms.color import Jitter, scale_saturation, turn_hue
from vidtx_mm.transforms.image_ops import IMGAUG, INCREASING, PIXELWISE, PLAIN
from vidtx_mm.transforms.rand_augment import POLICIES, Policy

MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


@pytest.fixture(autouse=True)
def seed():
    np.random.seed(0)


def clip(frames=3, height=32, width=40, still=False):
    imgs = np.random.default_rng(1).integers(0, 256, (1 if still else frames, height, width, 3), dtype=np.uint8)
    return dict(imgs=list(np.tile(imgs, (frames if still else 1, 1, 1, 1))), img_shape=(height, width), modality='RGB')


def erased(mode, **kwargs):
    before = clip(frames=4, height=60, width=80)
    after = NormalizedErasing(MEAN, STD, erase_prob=1.0, mode=mode)(dict(before))
    normalized = (np.stack(after['imgs']) - MEAN) / STD
    box = (np.stack(after['imgs']) != np.stack(before['imgs'])).any(axis=(0, 3))
    return normalized, box, before, after


@pytest.mark.parametrize('mode', ['const', 'rand'])
def test_erasing_fills_one_box_of_all_frames(mode):
    _, box, before, after = erased(mode)
    rows, columns = np.flatnonzero(box.any(1)), np.flatnonzero(box.any(0))
    assert box[np.ix_(rows, columns)].all() and len(rows) * len(columns) == box.sum()
    assert 0.02 * 0.8 <= box.mean() <= 1 / 3 * 1.1
    for old, new in zip(before['imgs'], after['imgs'], strict=True):
        assert old.dtype == np.uint8, 'the source frames stay'
        assert (new[~box] == old[~box]).all()


def test_erasing_with_zeros_after_normalization():
    normalized, box, *_ = erased('const')
    assert np.abs(normalized[:, box]).max() < 1e-6


def test_erasing_with_noise_for_each_pixel_and_frame():
    normalized, box, *_ = erased('rand')
    noise = normalized[:, box]
    assert noise.mean() == pytest.approx(0, abs=0.05) and noise.std() == pytest.approx(1, abs=0.05)
    assert np.abs(noise).max() > 2.5, 'not cut at the range of pixel values'
    assert np.abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_erased_box_is_smaller_than_the_frame_and_reaches_its_edges():
    """timm draws again while height or width of the box reach the frame's; the last offset is included."""
    transform = NormalizedErasing(MEAN, STD)
    boxes = np.array([transform.random_patch(30, 30) for _ in range(3000)])
    assert (boxes[:, 2:] < 30).all() and (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:]).max() == 30 and boxes[:, :2].min() == 0
    assert NormalizedErasing(MEAN, STD).random_patch(1, 1)[2:] == (0, 0), 'no box fits'


def test_erasing_probability_and_mode():
    transform = NormalizedErasing(MEAN, STD, erase_prob=0.25)
    changed = sum(transform(clip(frames=1, height=8, width=8))['imgs'][0].dtype == np.float32 for _ in range(1000))
    assert changed == pytest.approx(250, abs=60)
    with pytest.raises(ValueError, match="'const', 'rand'"):
        NormalizedErasing(MEAN, STD, mode='pixel')


def test_erased_and_whole_clips_share_a_batch():
    whole = clip(frames=4)
    half = NormalizedErasing(MEAN, STD, erase_prob=1.0, mode='rand')(clip(frames=4))
    inputs = []
    for results in (whole, half):
        results = FormatShape('NCTHW')(dict(results, num_clips=1, clip_len=4))
        inputs.append(torch.from_numpy(results['imgs']))
    preprocess = ActionDataPreprocessor(mean=MEAN.tolist(), std=STD.tolist(), format_shape='NCTHW')
    batch = preprocess(dict(inputs=inputs, data_samples=[ActionDataSample(), ActionDataSample()]))['inputs']
    assert [x.dtype for x in inputs] == [torch.uint8, torch.float32]
    expected = (np.stack(half['imgs']) - MEAN) / STD
    np.testing.assert_allclose(batch[1, 0].permute(1, 2, 3, 0).numpy(), expected, atol=1e-4)


def test_color_of_a_pixel_against_colorsys():
    """Without contrast (whose mean of a single pixel is the pixel): brightness, saturation, hue in this order."""
    for _ in range(30):
        pixel = np.random.uniform(0.15, 0.85, 3)
        brightness, saturation, hue = (
            np.random.uniform(-0.1, 0.1),
            np.random.uniform(-0.4, 0.4),
            np.random.uniform(-0.2, 0.2),
        )
        frame = pixel.reshape(1, 1, 3).astype(np.float32)
        Jitter(1, 1)(frame, brightness, saturation, 0.3, hue)
        h, s, v = colorsys.rgb_to_hsv(*pixel + brightness)
        expected = colorsys.hsv_to_rgb((h + hue) % 1, min(s * (1 + saturation), 1), v)
        np.testing.assert_allclose(frame[0, 0], expected, atol=2e-3)


def tensorflow_saturation(pixel, factor):
    """TensorFlow's ``adjust_saturation``: to HSV and back, the saturation clipped to [0, 1]."""
    value, least = max(pixel), min(pixel)
    old = (value - least) / value if value > 0 else 0
    new = min(max(old * factor, 0), 1)
    chroma = new * value
    return [value - chroma + chroma * ((c - least) / (value - least) if value > least else 1) for c in pixel]


def tensorflow_hue(pixel, turn):
    """TensorFlow's ``adjust_hue``: turns the hue, and keeps least and largest channel as they are."""
    least, spread = min(pixel), max(pixel) - min(pixel)
    if spread == 0:
        return list(pixel)
    hue, _, _ = colorsys.rgb_to_hsv(*[(c - least) / spread for c in pixel])
    return [least + spread * c for c in colorsys.hsv_to_rgb((hue + turn) % 1, 1, 1)]


def test_saturation_and_hue_outside_of_the_range():
    """Brightness and contrast move values below 0 and above 1, where OpenCV's HSV is another."""
    pixels = np.random.uniform(-0.4, 1.4, (500, 3)).astype(np.float32)
    pixels[:20] -= 0.6  # no channel is positive
    for factor, turn in ((0.6, -0.2), (1.4, 0.15), (1.0, 0.0)):
        channels = np.ascontiguousarray(pixels.T)[:, None]
        scale_saturation(channels, factor, np.empty((2, 1, 500), np.float32))
        got = channels[:, 0].T
        np.testing.assert_allclose(got, [tensorflow_saturation(p, factor) for p in pixels], atol=1e-5)
        got = pixels[None].copy()
        turn_hue(got, turn, np.empty_like(got))
        np.testing.assert_allclose(got[0], [tensorflow_hue(p, turn) for p in pixels], atol=2e-5)


def test_colors_are_clipped_before_a_clip_turns_gray(monkeypatch):
    """A brightness beyond the range: gray is the luma of (1, 1, 0.6), not that of (1.2, 1.1, 0.6), which is above 1."""
    pixel = np.array([1.2, 1.1, 0.6]) - 0.1
    frame = np.tile(pixel.astype(np.float32), (2, 2, 1))
    Jitter(2, 2)(frame, 0.1, 0.0, 0.0, 0.0)
    np.testing.assert_allclose(frame[0, 0], [1, 1, 0.6], atol=1e-5)

    monkeypatch.setattr(Jitter, '__call__', lambda self, frame, *_: np.clip(frame * 3, 0, 1, out=frame))
    imgs = [np.full((2, 2, 3), (200, 30, 10), np.uint8)]
    gray = ClipColorJitter(prob=1.0, gray_prob=1.0)(dict(imgs=imgs))['imgs'][0]
    assert (gray == round(255 * 0.2989 + 90 * 0.587 + 30 * 0.114)).all()


def test_contrast_is_about_the_mean_of_each_frame_and_channel():
    frames = np.random.rand(2, 4, 5, 3).astype(np.float32) * 0.4 + 0.3
    mean = frames.mean((1, 2), keepdims=True)
    got = frames.copy()
    for frame in got:
        Jitter(4, 5)(frame, 0.0, 0.0, -0.4, 0.0)
    np.testing.assert_allclose(got, (frames - mean) * 0.6 + mean, atol=1e-4)


def test_colors_of_all_frames_change_alike():
    imgs = ClipColorJitter(prob=1.0, gray_prob=0.0)(clip(still=True))['imgs']
    assert all((img == imgs[0]).all() for img in imgs)
    assert (imgs[0] != clip(still=True)['imgs'][0]).any()
    assert imgs[0].dtype == np.uint8


def test_grey_and_nothing():
    gray = ClipColorJitter(prob=0.0, gray_prob=1.0)(clip())['imgs'][1]
    assert (gray == gray[..., :1]).all()
    same = ClipColorJitter(prob=0.0, gray_prob=0.0)(clip())
    assert all((a == b).all() for a, b in zip(same['imgs'], clip()['imgs'], strict=True))


def frames():
    return np.stack(clip()['imgs'])


def luma(x):
    return (x[..., :1] * 299.0 + x[..., 1:2] * 587.0 + x[..., 2:] * 114.0) / 1000


def blend(base, x, factor):
    return np.clip(base + factor * (x.astype(float) - base), 0, 255)


REFERENCES = {
    'invert': (None, lambda x: 255 - x),
    'posterize': (3, lambda x: x & 0b11100000),
    'solarize': (100, lambda x: np.where(x < 100, x, 255 - x)),
    'solarize_add': (60, lambda x: np.where(x < 128, np.minimum(x.astype(int) + 60, 255), x)),
    'color': (0.4, lambda x: blend(np.round(luma(x)), x, 0.4)),
    'brightness': (1.6, lambda x: blend(0.0, x, 1.6)),
    'auto_contrast': (None, lambda x: x),
    'translate_x': (5 / 40, lambda x: np.pad(x, [(0, 0), (0, 0), (0, 5), (0, 0)], constant_values=128)[:, :, 5:]),
    'translate_y': (-4 / 32, lambda x: np.pad(x, [(0, 0), (4, 0), (0, 0), (0, 0)], constant_values=128)[:, :-4]),
}


@pytest.mark.parametrize('name', REFERENCES)
def test_operation_against_numpy(name):
    argument, reference = REFERENCES[name]
    got = INCREASING[name][0](frames(), argument)
    assert np.abs(got.astype(float) - reference(frames())).max() <= 1, 'up to rounding'


@pytest.mark.parametrize('name', ['rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y'])
def test_geometry_of_strength_zero_changes_nothing(name):
    assert (INCREASING[name][0](frames(), 0.0) == frames()).all()


@pytest.mark.parametrize('name', ['color', 'contrast', 'brightness', 'sharpness'])
@pytest.mark.parametrize('ops', [INCREASING, PIXELWISE])
def test_enhancement_of_factor_one_changes_nothing(name, ops):
    assert (ops[name][0](frames(), 1.0) == frames()).all()


def test_rotation_by_a_quarter_turn():
    square = frames()[:, :, :32]
    assert (INCREASING['rotate'][0](square.copy(), 90.0) == np.rot90(square, axes=(1, 2))).all()


@pytest.mark.parametrize(('name', 'axis'), [('shear_x', 1), ('shear_y', 2)])
def test_shear_moves_rows_by_their_number(name, axis):
    line = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    line[:, :, 16] = 255
    line = line if axis == 1 else line.swapaxes(1, 2)
    sheared = INCREASING[name][0](line, 0.25)[..., 0]
    sheared = sheared[0] if axis == 1 else sheared[0].T
    peaks = sheared[:28, :20].argmax(1)
    assert np.abs(peaks - (16 - 0.25 * np.arange(28))).max() <= 1


def test_contrast_uses_the_mean_of_each_frame():
    x = frames()
    got = INCREASING['contrast'][0](x.copy(), 0.5)
    mean = (luma(x)).mean((1, 2, 3), keepdims=True)
    assert np.abs(got - blend(np.floor(mean + 0.5), x, 0.5)).max() <= 1


def test_vivit_contrast_blends_with_white():
    got = PIXELWISE['contrast'][0](frames(), 1.9)
    assert np.abs(got - blend(255.0, frames(), 1.9)).max() <= 1


@pytest.mark.parametrize('name', ['auto_contrast', 'equalize'])
def test_statistics_of_each_frame_or_of_the_clip(name):
    dark, light = np.random.randint(10, 60, (64, 64, 3)), np.random.randint(150, 240, (64, 64, 3))
    x = np.stack([dark, light]).astype(np.uint8)
    each, whole = INCREASING[name][0](x.copy(), None), PIXELWISE[name][0](x.copy(), None)
    assert each[0].max() > 240 and each[1].min() < 15, 'each frame fills the range'
    assert whole[0].max() < 140 and whole[1].min() > 110, 'the clip fills the range, its frames keep their order'
    assert whole[0].min() < 15 and whole[1].max() > 240


def test_cutout_of_vivit_is_black_and_the_same_in_all_frames():
    x = np.full((3, 60, 60, 3), 50, dtype=np.uint8)
    got = PIXELWISE['cutout'][0](x, 8)
    assert (x == 50).all() and (got == got[:1]).all() and set(np.unique(got)) == {0, 50}
    assert 8 * 8 <= (got[0, ..., 0] == 0).sum() <= 16 * 16


@pytest.mark.parametrize(
    ('policy', 'name', 'level', 'low', 'high'),
    [
        ('increasing', 'rotate', 10, -30, 30),
        ('increasing', 'shear_x', 7, -0.21, 0.21),
        ('increasing', 'translate_y', 10, -0.45, 0.45),
        ('increasing', 'color', 10, 0.1, 1.9),
        ('increasing', 'posterize', 7, 2, 2),
        ('increasing', 'solarize', 7, 77, 77),
        ('increasing', 'solarize_add', 7, 77, 77),
        ('plain', 'color', 10, 1.9, 1.9),
        ('plain', 'sharpness', 5, 1.0, 1.0),
        ('plain', 'posterize', 5, 2, 2),
        ('plain', 'posterize', 10, 4, 4),
        ('plain', 'solarize', 5, 128, 128),
        ('plain', 'solarize_add', 5, 55, 55),
        ('plain', 'rotate', 5, -15, 15),
        ('imgaug', 'rotate', 7, -7, 7),
        ('imgaug', 'color', 7, 0.79, 1.21),
        ('imgaug', 'posterize', 7, 7, 7),
        ('imgaug', 'solarize', 7, 197, 197),
        ('imgaug', 'cutout', 12, 0.25, 0.25),
        ('pixelwise', 'color', 20, 3.7, 3.7),
        ('pixelwise', 'posterize', 20, 8, 8),
        ('pixelwise', 'solarize', 20, 512, 512),
        ('pixelwise', 'solarize_add', 20, 220, 220),
        ('pixelwise', 'cutout', 20, 80, 80),
    ],
)
def test_strengths(policy, name, level, low, high):
    """As the levels of the published code translate, worked out by hand."""
    _, argument = POLICIES[policy].operations[name]
    drawn = {round(float(argument(level / POLICIES[policy].full)), 6) for _ in range(50)}
    assert drawn == {low, high}


@pytest.mark.parametrize(
    ('policy', 'name'), [(p, name) for p, policy in POLICIES.items() for name in policy.operations]
)
def test_all_frames_get_the_same_operation(policy, name):
    """Equal frames stay equal. Sharpening ViViT's column of frames reaches one row over their joints, as published."""
    apply, argument = POLICIES[policy].operations[name]
    out = apply(np.stack(clip(still=True)['imgs']), argument(0.7))
    inner = out[:, 1:-1] if (policy, name) == ('pixelwise', 'sharpness') else out
    assert (inner == inner[:1]).all()
    assert out.dtype == np.uint8 and out.shape == (3, 32, 40, 3)


@pytest.mark.parametrize('name', ['rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y'])
def test_geometry_of_imgaug_takes_the_nearest_pixel(name):
    """No new values beside the gray of the corners."""
    x = np.random.choice([0, 255], (2, 32, 40, 3)).astype(np.uint8)
    assert set(np.unique(IMGAUG[name][0](x, 0.21))) <= {0, 128, 255}
    assert len(np.unique(INCREASING[name][0](x, 0.21))) > 3


@pytest.mark.parametrize('name', ['color', 'contrast', 'brightness', 'sharpness'])
def test_plain_operations_change_nothing_at_level_five(name):
    _, argument = PLAIN[name]
    assert argument(0.5) == pytest.approx(1.0)


@pytest.mark.parametrize('name', INCREASING)
def test_bgr_augments_swapped_frames(name, monkeypatch):
    apply, _ = INCREASING[name]
    monkeypatch.setitem(POLICIES, 'test', Policy({name: (apply, lambda _: argument)}, full=10))
    argument = {'posterize': 3, 'solarize': 100, 'solarize_add': 60}.get(name, 0.3)
    swapped = [img[..., ::-1] for img in clip()['imgs']]
    expected = RandAugment('test', 7, 1)(dict(imgs=swapped))['imgs']
    got = RandAugment('test', 7, 1, channel_order='bgr')(clip())['imgs']
    assert all((a == b[..., ::-1]).all() for a, b in zip(got, expected, strict=True))
    rgb = RandAugment('test', 7, 1)(clip())['imgs']
    assert (np.stack(got) != np.stack(rgb)).any() == (name in ('color', 'contrast'))


@pytest.mark.parametrize('name', ['blur', 'smooth'])
def test_filters_of_imgaug(name):
    out = IMGAUG[name][0](frames(), None)
    assert out.std() < 0.8 * frames().std() and abs(out.mean() - frames().mean()) < 2


def test_cutout_of_imgaug_is_gray_and_a_share_of_the_short_side():
    got = IMGAUG['cutout'][0](np.zeros((2, 400, 800, 3), dtype=np.uint8), 0.1)
    assert 20 * 20 <= (got[0, ..., 0] == 128).sum() <= 40 * 40


def test_rand_augment_counts_and_levels(monkeypatch):
    shares = []

    def argument(share):
        shares.append(share)

    operations = {name: (lambda x, _: x, argument) for name in 'abcdef'}
    monkeypatch.setitem(POLICIES, 'test', Policy(operations, full=10, limit=10, prob=0.5))
    transform = RandAugment('test', magnitude=7, num_ops=4, magnitude_std=0.5)
    for _ in range(500):
        transform(clip(frames=1, height=2, width=2))
    assert len(shares) == pytest.approx(500 * 4 * 0.5, rel=0.1)
    assert np.mean(shares) == pytest.approx(0.7, abs=0.01) and np.std(shares) == pytest.approx(0.05, rel=0.1)
    RandAugment('test', magnitude=20, num_ops=50)(clip())
    assert shares[-1] == 1


def test_imgaug_draws_without_replacement(monkeypatch):
    seen = []
    operations = {name: (lambda x, arg: seen.append(arg) or x, lambda _, name=name: name) for name in 'abcdef'}
    monkeypatch.setitem(POLICIES, 'test', Policy(operations, full=30, repeat=POLICIES['imgaug'].repeat))
    RandAugment('test', magnitude=7, num_ops=6)(clip())
    assert sorted(seen) == list('abcdef') and seen != sorted(seen)


@pytest.mark.parametrize('policy', POLICIES)
def test_augmented_frames_can_be_flipped_in_place(policy):
    for _ in range(8):
        results = RandAugment(policy, magnitude=7, num_ops=4)(clip())
        assert len(results['imgs']) == 3
        Flip(flip_ratio=1.0)(results)


def test_unknown_policy():
    with pytest.raises(ValueError, match="'increasing', 'plain', 'imgaug', 'pixelwise'"):
        RandAugment('rand-m7-n4', magnitude=7, num_ops=4)


def test_unknown_channel_order():
    with pytest.raises(ValueError, match="channel_order='gbr'.*'rgb', 'bgr'"):
        RandAugment('plain', magnitude=5, num_ops=2, channel_order='gbr')
