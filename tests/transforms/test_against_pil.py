"""The operations of RandAugment against PIL, frame by frame or on the column of frames."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from vidtx_mm.transforms import RandAugment
from vidtx_mm.transforms.image_ops import IMGAUG, INCREASING, PIXELWISE
from vidtx_mm.transforms.rand_augment import POLICIES, Policy

ARRAYS = {
    'noise': np.random.default_rng(0).integers(0, 256, (3, 60, 83, 3), dtype=np.uint8),
    'dark': np.random.default_rng(1).integers(20, 90, (3, 61, 42, 3), dtype=np.uint8),
    'flat': np.full((2, 40, 40, 3), (7, 200, 128), dtype=np.uint8),
    'blocks': np.random.default_rng(2).integers(0, 256, (2, 8, 10, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2),
}


class Frames(dict):
    """Copies, since operations write into their clip."""

    def __getitem__(self, kind):
        return super().__getitem__(kind).copy()


FRAMES = Frames(ARRAYS)
ENHANCE = {
    'color': ImageEnhance.Color,
    'contrast': ImageEnhance.Contrast,
    'brightness': ImageEnhance.Brightness,
    'sharpness': ImageEnhance.Sharpness,
}
FACTORS = (0.0, 0.1, 0.37, 1.0, 1.63, 1.9, 3.7)
ADD = [min(255, i + 77) if i < 128 else i for i in range(256)] * 3
POINTWISE = {
    'auto_contrast': [(None, ImageOps.autocontrast)],
    'equalize': [(None, ImageOps.equalize)],
    'invert': [(None, ImageOps.invert)],
    'posterize': [(bits, lambda img, bits=bits: ImageOps.posterize(img, bits)) for bits in range(1, 9)],
    'solarize': [(n, lambda img, n=n: ImageOps.solarize(img, n)) for n in (0, 1, 77, 255, 256)],
    'solarize_add': [(77, lambda img: img.point(ADD))],
    **{
        name: [(factor, lambda img, e=enhance, f=factor: e(img).enhance(f)) for factor in FACTORS]
        for name, enhance in ENHANCE.items()
    },
}
FILTERS = {'blur': ImageFilter.BLUR, 'smooth': ImageFilter.SMOOTH}
MATRICES = {
    'shear_x': lambda f, h, w: (1, f, 0, 0, 1, 0),
    'shear_y': lambda f, h, w: (1, 0, 0, f, 1, 0),
    'translate_x': lambda f, h, w: (1, 0, f * w, 0, 1, 0),
    'translate_y': lambda f, h, w: (1, 0, 0, 0, 1, f * h),
}
FILL = dict(fillcolor=(128, 128, 128))


def each(frames, op):
    return np.stack([np.asarray(op(Image.fromarray(frame))) for frame in frames])


def column(frames, op):
    return np.asarray(op(Image.fromarray(frames.reshape(-1, *frames.shape[2:])))).reshape(frames.shape)


def geometry(name, argument, resample):
    def op(img):
        if name == 'rotate':
            return img.rotate(argument, resample=resample, **FILL)
        matrix = MATRICES[name](argument, img.height, img.width)
        return img.transform(img.size, Image.Transform.AFFINE, matrix, resample=resample, **FILL)

    return op


@pytest.mark.parametrize('kind', FRAMES)
@pytest.mark.parametrize('name', POINTWISE)
def test_pointwise_operations_are_equal(name, kind):
    for argument, op in POINTWISE[name]:
        np.testing.assert_array_equal(INCREASING[name][0](FRAMES[kind], argument), each(FRAMES[kind], op))


def test_no_bits_are_black():
    """As before PIL 12, which refuses 0 bits."""
    assert not INCREASING['posterize'][0](FRAMES['noise'], 0).any()


@pytest.mark.parametrize('kind', FRAMES)
@pytest.mark.parametrize('name', [name for name in POINTWISE if name != 'contrast'])
def test_pointwise_operations_of_vivit_are_equal_on_the_column(name, kind):
    for argument, op in POINTWISE[name]:
        np.testing.assert_array_equal(PIXELWISE[name][0](FRAMES[kind], argument), column(FRAMES[kind], op))


@pytest.mark.parametrize('factor', FACTORS)
def test_contrast_of_vivit_is_equal(factor):
    white = Image.new('RGB', (83, 180), (255, 255, 255))
    expected = column(FRAMES['noise'], lambda img: Image.blend(white, img, factor))
    np.testing.assert_array_equal(PIXELWISE['contrast'][0](FRAMES['noise'], factor), expected)


@pytest.mark.parametrize('kind', FRAMES)
@pytest.mark.parametrize('name', FILTERS)
def test_filters_are_equal(name, kind):
    expected = each(FRAMES[kind], lambda img: img.filter(FILTERS[name]))
    np.testing.assert_array_equal(IMGAUG[name][0](FRAMES[kind], None), expected)


@pytest.mark.parametrize('kind', FRAMES)
@pytest.mark.parametrize('name', ['rotate', *MATRICES])
def test_bicubic_geometry_agrees_within_a_gray_level(name, kind):
    for argument in (0.0, 0.1, -0.21, 0.3, 0.45, 12.0, -30.0) if name == 'rotate' else (0.0, 0.1, -0.21, 0.3, 0.45):
        got = INCREASING[name][0](FRAMES[kind], argument).astype(int)
        difference = np.abs(got - each(FRAMES[kind], geometry(name, argument, Image.Resampling.BICUBIC)))
        assert difference.max() <= 1 and difference.mean() < 0.01


@pytest.mark.parametrize('name', ['rotate', *MATRICES])
def test_nearest_geometry_takes_the_same_pixels(name):
    for argument in (0.0, 12.0, -30.0) if name == 'rotate' else (0.0, 0.1, -0.21, 0.33):
        expected = each(FRAMES['noise'], geometry(name, argument, Image.Resampling.NEAREST))
        assert np.mean(IMGAUG[name][0](FRAMES['noise'], argument) != expected) < 0.005, 'but where two are as near'


@pytest.mark.parametrize('ops', [INCREASING, IMGAUG])
def test_fixed_points_stay(ops):
    """The center of a rotation, and every pixel that a translation by whole pixels takes along."""
    frames = FRAMES['noise'][:, :59]
    apply = {name: lambda x, op=ops[name][0]: op(frames.copy(), x) for name in ('rotate', *MATRICES)}
    turned = apply['rotate'](25.0)
    np.testing.assert_array_equal(turned[:, 29, 41], frames[:, 29, 41])
    np.testing.assert_array_equal(apply['translate_x'](7 / 83)[:, :, :-7], frames[:, :, 7:])
    np.testing.assert_array_equal(apply['translate_y'](-7 / 59)[:, 7:], frames[:, :-7])


@pytest.mark.parametrize('policy', ['increasing', 'pixelwise'])
def test_consecutive_pointwise_operations_are_fused(policy, monkeypatch):
    """The same values as one after the other, of which statistics are those in between."""
    operations = {name: POLICIES[policy].operations[name] for name in POINTWISE if name != 'sharpness'}
    monkeypatch.setitem(POLICIES, 'test', Policy(operations, full=10))
    for seed in range(30):
        np.random.seed(seed)
        got = RandAugment('test', magnitude=6, num_ops=4)(dict(imgs=list(FRAMES['dark'])))['imgs']
        np.random.seed(seed)
        expected = FRAMES['dark']
        for name in np.random.choice(list(operations), 4):
            np.random.rand(), np.random.normal(6, 0)
            operation, argument = operations[name]
            expected = operation(expected, argument(0.6))
        np.testing.assert_array_equal(got, expected)
