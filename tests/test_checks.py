"""Constructors of registered classes refuse wrong values, naming the class, the argument, the value and the remedy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np
import pytest

from vidtx_mm.checks import Count, InitCfg, OneOf, Positive, Rate, Rule, Size2, Size3, check, checked
from vidtx_mm.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS, WEIGHT_INITIALIZERS

REGISTRIES = (MODELS, DATASETS, HOOKS, METRICS, TRANSFORMS, WEIGHT_INITIALIZERS)
# Values of the arguments that have no default.
REQUIRED: dict[str, Any] = dict(
    ann_file='list.txt',
    backbone=dict(type='vidtx_mm.VideoSwin'),
    checkpoint='a.pth',
    class_splits=[3, 2],
    clip_len=4,
    crop_size=8,
    in_channels=6,
    magnitude=7,
    mean=[1, 2, 3],
    names=['noun', 'verb'],
    num_classes=5,
    num_ops=2,
    pipeline=[],
    policy='plain',
    protocol='uniformer',
    scale_range=(4, 8),
    size=8,
    std=[1, 2, 3],
)


def registered() -> Iterator[tuple[str, type]]:
    for registry in REGISTRIES:
        registry.import_from_location()
        yield from ((name, cls) for name, cls in registry.module_dict.items() if '__init__' in vars(cls))


CLASSES = dict(registered())


def build(name: str, **kwargs: Any) -> Any:
    required = (p.name for p in signature(CLASSES[name]).parameters.values() if p.default is p.empty)
    return CLASSES[name](**{key: REQUIRED[key] for key in required if key in REQUIRED} | kwargs)


@pytest.mark.parametrize('name', CLASSES)
def test_all_arguments_are_checked(name):
    init = CLASSES[name].__init__
    hints = get_type_hints(init, include_extras=True)
    for argument, parameter in [*signature(CLASSES[name]).parameters.items()]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        assert hints[argument] is not Any
        with pytest.raises(ValueError, match=rf'^{name}: {argument}=<object object at .*>: (give|choose) '):
            build(name, **{argument: object()})
    with pytest.raises(TypeError, match=rf"^{name}: .*'?windw'?"):
        build(name, windw=7)


MESSAGES = [
    ('ViViT', dict(in_channels=0), 'in_channels=0: give a positive integer'),
    ('ViViT', dict(in_channels=True), 'in_channels=True: give a positive integer'),
    ('ViViT', dict(temporal_depth=-1), 'temporal_depth=-1: give an integer of at least 0'),
    ('ViViT', dict(drop_path_rate='0.1'), "drop_path_rate='0.1': give a number in [0, 1)"),
    ('ViViT', dict(drop_path_rate=float('nan')), 'drop_path_rate=nan: give a number in [0, 1)'),
    ('ViViT', dict(mlp_ratio=1e9), 'mlp_ratio=1000000000.0: give a positive number of at most 100'),
    ('ViViT', dict(qkv_bias=1), 'qkv_bias=1: give True or False'),
    ('ViViT', dict(tubelet_size=(2, 16)), 'tubelet_size=(2, 16): give three positive integers (t, h, w)'),
    ('ViViT', dict(img_size=[]), 'img_size=[]: give a positive integer, or two (height, width)'),
    ('ViViT', dict(out_indices='a'), "out_indices='a': give a list with an integer in each place, or an integer"),
    ('ViViT', dict(with_cp=2), 'with_cp=2: give True or False, or a list with an integer in each place'),
    ('ViViT', dict(arch=3), 'arch=3: give a string, or a dict'),
    ('ViViT', dict(arch=dict(embed_dims=8, depth=0, num_heads=1)), 'arch: depth=0: give a positive integer'),
    ('ViViT', dict(arch=dict(embed_dims=8, depth=1, num_heads=0)), 'arch: num_heads=0: give a positive integer'),
    ('ViViT', dict(arch=dict(embed_dims=9, depth=1, num_heads=2)), 'num_heads=2 does not divide the 9 channels'),
    ('ViViT', dict(init_cfg={'a': 1}), "init_cfg={'a': 1}: give a dict with a type, or a list of them, or None"),
    ('VideoSwin', dict(shift='time'), "shift='time': choose one of 'space_time', 'space', 'none'"),
    ('VideoUniFormer', dict(norm_eps=0), 'norm_eps=0: give a number in (0, 1)'),
    ('VideoUniFormer', dict(odd_size='crop'), "odd_size='crop': choose one of 'pad', 'floor'"),
    ('VideoUniFormerLight', dict(keep_ratio=0), 'keep_ratio=0: give a number in (0, 1]'),
    ('VideoClsHead', dict(label_smooth_eps=2), 'label_smooth_eps=2: give a number in [0, 1)'),
    ('VideoClsHead', dict(dropout_ratio=1), 'dropout_ratio=1: give a number in [0, 1)'),
    ('VideoClsHead', dict(init_std=-1), 'init_std=-1: give a number from 0 to 1'),
    ('VideoClsHead', dict(loss_cls={'a': 1}), "loss_cls={'a': 1}: give a dict with a type, or None"),
    ('VideoClsHead', dict(topk=[]), 'topk=[]: give a positive integer, or a list of positive integers'),
    ('VideoClsHead', dict(average_clips=3), "average_clips=3: choose one of 'prob', 'score', None"),
    ('VideoTokenClsHead', dict(pool='cls'), "pool='cls': give 'avg', or leave it out"),
    ('MultiHeadAccuracy', dict(names=['noun']), "names=('noun',) does not match class_splits=(3, 2)"),
    ('NormalizedErasing', dict(mean=[123]), 'mean=[123]: give three values from 0 to 255'),
    ('NormalizedErasing', dict(mean=[-1, 2, 3]), 'mean=[-1, 2, 3]: give three values from 0 to 255'),
    ('NormalizedErasing', dict(std=[1, 0, 1]), 'std=[1, 0, 1]: give three positive numbers'),
    ('RandAugment', dict(magnitude=31), 'magnitude=31: give a level from 0 to 30'),
    ('RandAugment', dict(policy='imgaug', num_ops=99), "num_ops=99: policy='imgaug' has"),
    (
        'RandomShortSide',
        dict(scale_range=(8, 4)),
        'scale_range=(8, 4): give two positive numbers, the smaller one first',
    ),
    ('UniformCrop', dict(crop_size=[]), 'crop_size=[]: give a positive integer'),
    ('UniformCrop', dict(num_crops=2), 'num_crops=2: choose one of 1, 3'),
    ('ResizeShortSide', dict(size=float('nan')), 'size=nan: give a positive integer'),
    ('RandomScaleRotation', dict(rotate_factor=-1), 'rotate_factor=-1: give degrees from 0 to 180'),
    ('SampleClips', dict(clip_len='text'), "clip_len='text': give a positive integer"),
    ('SampleClips', dict(target_fps=1e9), 'target_fps=1000000000.0: give a frame rate of at most 1000, or None'),
    ('VideoInit', dict(backend='ffmpeg'), "backend='ffmpeg': choose one of 'auto', 'pyav'"),
    ('VideoInit', dict(timeout=0), 'timeout=0: give a positive number, or None'),
    ('VideoInit', dict(io_backend='tape'), "io_backend='tape': choose one of 'disk', 'local'"),
    ('VideoListDataset', dict(pipeline=[0]), 'pipeline=[0]: give a list of transforms'),
    ('VideoListDataset', dict(classes='k401'), "classes='k401': unknown class list; "),
    ('VideoListDataset', dict(class_splits=[]), 'class_splits=[]: give a list of positive integers, or None'),
    ('VideoListDataset', dict(data_prefix='a'), "data_prefix='a': give dict(video=<folder>), or None"),
    ('VideoListDataset', dict(data_prefix=dict(vido='a')), "data_prefix={'vido': 'a'}: give dict(video=<folder>)"),
    ('VideoListDataset', dict(num_repeats=0), 'num_repeats=0: give a positive integer'),
    ('SafeCheckpointHook', dict(interval=0), 'interval=0: give a positive integer, or -1 for none'),
    ('SafeCheckpointHook', dict(max_keep_ckpts=0), 'max_keep_ckpts=0: give a positive integer, or -1 for all'),
    ('SafeCheckpointHook', dict(save_best='best'), "save_best='best': Cannot infer the rule for key best"),
    ('VideoRecognizer', dict(backbone=3), 'backbone=3: give a dict with a type'),
    (
        'VideoRecognizer',
        dict(test_cfg=dict(max_testing_views=0)),
        "test_cfg={'max_testing_views': 0}: give a dict",
    ),
    ('NonFiniteGuard', dict(max_skips=-1), 'max_skips=-1: give an integer of at least 0'),
    ('FromPretrained', dict(checkpoint=''), "checkpoint='': give a path or a web address"),
    ('FromPretrained', dict(keep_init=3), 'keep_init=3: give a string'),
    ('FromPretrained', dict(allow_nonfinite='no'), "allow_nonfinite='no': give True or False"),
]


@pytest.mark.parametrize(('name', 'kwargs', 'message'), MESSAGES, ids=[f'{m[0]}-{m[2]}' for m in MESSAGES])
def test_messages(name, kwargs, message):
    with pytest.raises(ValueError) as error:
        build(name, **kwargs)
    assert str(error.value).startswith(f'{name}: {message}')


def test_unknown_arguments_of_a_file_backend_need_one():
    with pytest.raises(TypeError, match='VideoInit: unknown argument thread; a file backend needs its io_backend'):
        build('VideoInit', thread=2)


@pytest.mark.parametrize(
    ('hint', 'good', 'bad'),
    [
        (int, [0, -1, np.int64(3)], [True, 1.0, '1', None]),
        (float, [0, -1.5, np.float32(3)], [True, float('nan'), float('inf'), '1']),
        (bool, [True], [0, 1, None]),
        (Positive, [1], [0, -1, 0.5, True]),
        (Count | None, [0, None], [-1, '']),
        (Rate, [0, 0.5], [1, -0.1]),
        (Size3, [(1, 2, 3), [1, 2, 3]], [(1, 2), (1, 2, 0), 3, 'abc', {1: 2}]),
        (Positive | Size2, [3, (3, 4)], [(3,), (3, 4, 5), 0]),
        (tuple[int, float], [(1, 0.5), [1, 2]], [(1,), (0.5, 1), 1]),
        (tuple[int, ...], [(), (1, 2)], [('a',)]),
        (Sequence[float], [[], np.ones(2)], ['ab', 3, np.array(['a'])]),
        (InitCfg, [dict(type='a'), [dict(type='a')]], [{}, [{}], ['a']]),
        (Mapping[str, Any], [{}], [[]]),
        (str | Path, ['a', Path('a')], [3]),
        (Callable[..., int], [len], [3]),
        (Annotated[str, OneOf({'a': 1})], ['a'], ['b', ['a'], None]),
        (Annotated[int, Rule('an even number', lambda n: n % 2 == 0)], [2], [1, '2']),
        (Any, [object()], []),
    ],
)
def test_hints(hint, good, bad):
    for value in good:
        assert check('name', value, hint) is value
    for value in bad:
        with pytest.raises(ValueError, match='^name=.*: (give|choose) '):
            check('name', value, hint)


def test_a_constructor_keeps_its_signature_and_names_the_class():
    class Base:
        @checked
        def __init__(self, size: Positive, *rest: int, name: str = 'a', **kwargs: Any) -> None:
            if size > 9:
                raise ValueError('too large')
            self.rest = rest

    class Derived(Base):
        """Has no constructor of its own."""

    assert str(signature(Base)).startswith('(size: ')
    assert Derived(3, 4, b=5).rest == (4,)
    with pytest.raises(ValueError, match=r'^Derived: name=3: give a string$'):
        Derived(3, name=3)
    with pytest.raises(ValueError, match=r'^Derived: too large$'):
        Derived(10)
    with pytest.raises(TypeError, match=r"^Derived: missing a required argument: 'size'; valid are size, name$"):
        Derived()
