"""What the names of the recognition configs say and the figures published for them, per family.

A name is ``<family>_<word>_..._<data>.py``; each word stands for values that the config must have. A new family is a
row of FAMILIES, a new word or config a row of its family.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

CONFIG_DIR = Path(__file__).parents[2] / 'configs'
CONFIGS = sorted(path for path in CONFIG_DIR.glob('*.py'))
KNOBS = (
    'data_root',
    'data_root_val',
    'ann_file_train',
    'ann_file_val',
    'ann_file_test',
    'num_classes',
    'batch_size',
    'gpus',
    'clips_per_step',
    'num_workers',
    'lr',
    'epochs',
    'checkpoint',
)
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
ABSENT = object()
Facts = Mapping[str, Any]  # dotted key to value, or to a predicate of the value


@dataclass(frozen=True)
class Published:
    """``parameters`` exactly, head included; ``gmacs`` of one view within 1%; ``checkpoint``: the file started from."""

    parameters: int
    gmacs: float | None
    checkpoint: str


@dataclass(frozen=True)
class Family:
    """``reduction`` makes its configs small enough to train in a test, where two steps must move every parameter."""

    backbone: str
    words: Mapping[str, Facts]
    published: Mapping[str, Published]
    reduction: Mapping[str, Any]


def contains(text: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.search(text, value) is not None


def data(folder: str, classes: int) -> Facts:
    lists = {f'{loader}.dataset.ann_file': contains(f'^data/{folder}/') for loader in DATALOADERS}
    return {'num_classes': classes, 'model.cls_head.num_classes': classes, **lists}


DATA: dict[str, Facts] = {
    'k400': data('kinetics400', 400),
    'k600': data('kinetics600', 600),
    'k700': data('kinetics700', 700),
    'k710': data('kinetics710', 710),
    'ssv1': data('sthv1', 174),
    'ssv2': data('sthv2', 174),
    'ucf101': data('ucf101', 101),
    'hmdb51': data('hmdb51', 51),
    'howto100m': data('howto100m', 1059),
    'epic': {'num_classes': 397, 'class_splits': [300, 97], 'model.cls_head.class_splits': [300, 97]},
}


def size(arch: str, channels: int, **backbone: Any) -> Facts:
    values = {f'model.backbone.{key}': value for key, value in dict(arch=arch, **backbone).items()}
    return {**values, 'model.cls_head.in_channels': channels}


def clips(frames: int, rate: int | None = None) -> Facts:
    """Clips of so many frames, ``rate`` apart; the sampling stands first but one in every pipeline."""

    def sampled(pipeline: list[dict[str, Any]]) -> bool:
        return (pipeline[1]['clip_len'], pipeline[1].get('frame_interval')) == (frames, rate)

    return {f'{loader}.dataset.pipeline': sampled for loader in DATALOADERS}


TINY_FILE = 'swin_tiny_patch4_window7_224.pth'
SWIN = Family(
    backbone='vidtx_mm.VideoSwin',
    words={
        't': size('tiny', 768),
        's': size('small', 768),
        'b': size('base', 1024),
        'l': size('large', 1536),
        'l384': size('large', 1536, window_size=(8, 12, 12)),
        'in22k': {'checkpoint': contains('22k')},
        'split': {'model.backbone.attention': 'split'},
        'factorized': {'model.backbone.attention': 'factorized'},
        'noshift': {'model.backbone.shift': 'none'},
        'ssv2': {'model.backbone.window_size': (16, 7, 7)},
    },
    published={
        'swin3d_t_k400': Published(28_158_070, 87.9, TINY_FILE),
        'swin3d_t_split_k400': Published(42_008_026, 83, TINY_FILE),
        'swin3d_t_factorized_k400': Published(36_486_316, 95, TINY_FILE),
        'swin3d_t_noshift_k400': Published(28_158_070, 87.9, TINY_FILE),
        'swin3d_s_k400': Published(49_816_678, 165.9, 'swin_small_patch4_window7_224.pth'),
        'swin3d_b_k400': Published(88_048_984, 281.6, 'swin_base_patch4_window7_224.pth'),
        'swin3d_b_in22k_k400': Published(88_048_984, 281.6, 'swin_base_patch4_window7_224_22k.pth'),
        'swin3d_b_in22k_k600': Published(88_253_984, 281.6, 'swin_base_patch4_window7_224_22k.pth'),
        'swin3d_b_ssv2': Published(88_834_038, 320.6, 'swin_base_patch244_window1677_kinetics400_22k.pth'),
        'swin3d_l_in22k_k400': Published(196_953_916, 604, 'swin_large_patch4_window7_224_22k.pth'),
        'swin3d_l_in22k_k700': Published(197_415_016, 604, 'swin_large_patch4_window7_224_22k.pth'),
        'swin3d_s_k710': Published(50_055_068, 165.9, 'swin_small_patch4_window7_224.pth'),
        'swin3d_l384_in22k_k400': Published(199_999_516, 2107, 'swin_large_patch4_window12_384_22k.pth'),
    },
    reduction={
        'model.backbone.arch': dict(_delete_=True, embed_dims=8, depths=[2, 1, 1, 1], num_heads=[1, 1, 2, 2]),
        'model.cls_head.in_channels': 64,
        'model.backbone.drop_path_rate': 0.0,
    },
)

UNIFORMER_S_K400 = 'uniformer-small_imagenet1k-pre_16x4x1_kinetics400-rgb_20221219-c630a037.pth'
UNIFORMER_B_K400 = 'uniformer-base_imagenet1k-pre_16x4x1_kinetics400-rgb_20221219-157c2e66.pth'
UNIFORMER = Family(
    backbone='vidtx_mm.VideoUniFormer',
    words={
        's': size('small', 512),
        'b': size('base', 512),
        '8x8': clips(8, 8),
        '16x8': clips(16, 8),
        '32x4': clips(32, 4),
        '32': clips(32),
        'ssv1': {'model.data_preprocessor.to_rgb': True},
        'ssv2': {'model.data_preprocessor.to_rgb': True},
        'ucf101': {'model.data_preprocessor.to_rgb': False},
        'hmdb51': {'model.data_preprocessor.to_rgb': True},
    },
    published={
        'uniformer_s_ucf101': Published(21_247_013, 41.66, UNIFORMER_S_K400),
        'uniformer_s_hmdb51': Published(21_221_363, 41.66, UNIFORMER_S_K400),
        **{
            f'uniformer_{name}_k400': Published(parameters, gmacs, f'uniformer_{size}_in1k.pth')
            for name, parameters, gmacs, size in (
                ('s', 21_400_400, 41.66, 'small'),
                ('s_8x8', 21_400_400, 17.57, 'small'),
                ('s_16x8', 21_400_400, 41.66, 'small'),
                ('s_32x4', 21_400_400, 109.45, 'small'),
                ('b', 49_813_200, 96.55, 'base'),
                ('b_8x8', 49_813_200, 40.13, 'base'),
                ('b_16x8', 49_813_200, 96.55, 'base'),
                ('b_32x4', 49_813_200, 258.25, 'base'),
            )
        },
        **{
            f'uniformer_{name}_k600': Published(parameters, gmacs, f'uniformer_{size}_in1k.pth')
            for name, parameters, gmacs, size in (
                ('s', 21_503_000, 41.66, 'small'),
                ('s_16x8', 21_503_000, 41.66, 'small'),
                ('b', 49_915_800, 96.55, 'base'),
                ('b_16x8', 49_915_800, 96.55, 'base'),
                ('b_32x4', 49_915_800, 258.25, 'base'),
            )
        },
        **{
            f'uniformer_{name}_{data}': Published(parameters, gmacs, checkpoint)
            for data in ('ssv1', 'ssv2')
            for name, parameters, gmacs, checkpoint in (
                ('s', 21_284_462, 41.66, UNIFORMER_S_K400),
                ('s_32', 21_284_462, 109.45, UNIFORMER_S_K400),
                ('b', 49_697_262, 96.55, UNIFORMER_B_K400),
                ('b_32', 49_697_262, 258.25, UNIFORMER_B_K400),
            )
        },
    },
    reduction={
        'model.backbone.arch': dict(
            _delete_=True, depths=[1, 1, 1, 1], embed_dims=[8, 8, 16, 16], head_dim=8, mlp_ratio=2
        ),
        'model.cls_head.in_channels': 16,
        'model.backbone.drop_path_rate': 0.0,
    },
)

# Frames, pixels and arch of XXS; layer scale where it was published with it.
LIGHT_SIZES = (
    (4, 128, 'xxs-ls'),
    (4, 160, 'xxs-ls'),
    (8, 128, 'xxs-ls'),
    (8, 160, 'xxs'),
    (16, 128, 'xxs'),
    (32, 160, 'xxs'),
)


def light_clips(frames: int, side: int, arch: str) -> Facts:
    return {**clips(frames), 'crop_size': side, 'model.backbone.arch': arch}


# The light models have a class of their own and two classifiers.
UNIFORMER_LIGHT = Family(
    backbone='vidtx_mm.VideoUniFormerLight',
    words={
        'xxs': {'model.cls_head.in_channels': 448},
        'xs': size('xs', 512),
        **{f'{frames}x{side}': light_clips(frames, side, arch) for frames, side, arch in LIGHT_SIZES},
    },
    published={
        'uniformer_xxs_k400': Published(9_833_896, 6.9, 'uniformer_xxs_160_in1k.pth'),
        # Those that differ by more than 1 % from the rounded figures of the README are left out.
        'uniformer_xxs_4x128_k400': Published(9_840_616, 1.0, 'uniformer_xxs_128_in1k.pth'),
        'uniformer_xxs_4x160_k400': Published(9_840_616, None, 'uniformer_xxs_160_in1k.pth'),  # 1.6, 1.57 counted
        'uniformer_xxs_8x128_k400': Published(9_840_616, None, 'uniformer_xxs_128_in1k.pth'),  # 2.0, 2.02 counted
        'uniformer_xxs_8x160_k400': Published(9_833_896, None, 'uniformer_xxs_160_in1k.pth'),  # 3.3, 3.22 counted
        'uniformer_xxs_16x128_k400': Published(9_833_896, 4.2, 'uniformer_xxs_128_in1k.pth'),
        'uniformer_xxs_32x160_k400': Published(9_833_896, 15.4, 'uniformer_xxs_160_in1k.pth'),
        'uniformer_xs_k400': Published(
            16_099_552, None, '1Ce2Dk9-k_-sHt5dXp-gfNOEK37Jdcffv'
        ),  # 34.2 published, 33.8 counted
    },
    reduction={
        **UNIFORMER.reduction,
        'model.backbone.arch': dict(
            _delete_=True, depths=[1, 1, 2, 1], embed_dims=[8, 8, 16, 16], head_dim=8, mlp_ratio=2
        ),
    },
)

TIMESFORMER_VIT = 'jx_vit_base_p16_224-80ecf9dd.pth'


def scheme(attention: str) -> Facts:
    return {'model.backbone.attention': attention}


# The last block computes the class token alone, so multiply-adds are 5 % below the published ones; those of the whole
# are held against them in tests/backbones/test_timesformer.py.
TIMESFORMER = Family(
    backbone='vidtx_mm.VideoTimeSformer',
    words={
        'base': {**scheme('divided'), 'model.backbone.num_frames': 8},
        'hr': {'model.backbone.num_frames': 16, 'model.backbone.img_size': 448},
        'l': {'model.backbone.num_frames': lambda frames: frames in (64, 96)},
        **{word: scheme(word) for word in ('space', 'joint', 'axial')},
        'lg': scheme('local_global'),
        **{str(frames): {'model.backbone.num_frames': frames} for frames in (8, 32, 64, 96)},
        'ssv2': {'model.data_preprocessor.to_rgb': True},
    },
    published={
        'timesformer_base_k400': Published(121_566_352, None, TIMESFORMER_VIT),
        'timesformer_hr_k400': Published(122_024_080, None, TIMESFORMER_VIT),
        'timesformer_l_k400': Published(121_633_936, None, TIMESFORMER_VIT),
        'timesformer_base_k600': Published(121_720_152, None, TIMESFORMER_VIT),
        'timesformer_hr_k600': Published(122_177_880, None, TIMESFORMER_VIT),
        'timesformer_l_k600': Published(121_787_736, None, TIMESFORMER_VIT),
        'timesformer_base_ssv2': Published(121_392_558, None, TIMESFORMER_VIT),
        'timesformer_hr_ssv2': Published(121_850_286, None, TIMESFORMER_VIT),
        'timesformer_l_ssv2': Published(121_435_566, None, TIMESFORMER_VIT),
        'timesformer_space_k400': Published(86_106_256, None, TIMESFORMER_VIT),
        'timesformer_joint_k400': Published(86_112_400, None, TIMESFORMER_VIT),
        'timesformer_lg_k400': Published(121_566_352, None, TIMESFORMER_VIT),
        'timesformer_axial_k400': Published(157_020_304, None, TIMESFORMER_VIT),
        **{
            f'timesformer_{frames}_howto100m': Published(parameters, None, 'TimeSformer_divST_8x32_224_K400.pyth?dl=1')
            for frames, parameters in ((8, 122_073_123), (32, 122_091_555), (64, 122_116_131), (96, 122_140_707))
        },
    },
    reduction={
        'model.backbone.arch': dict(_delete_=True, embed_dims=8, depth=1, num_heads=2),
        'model.cls_head.in_channels': 8,
        'model.backbone.drop_path_rate': 0.0,
        'optim_wrapper.accumulative_counts': 1,  # else one step, which finds the attention over time behind a zero
    },
)

VIVIT_B, VIVIT_L, VIVIT_K400 = 'ViT-B_16.npz', 'ViT-L_16.npz', 'checkpoint'


def model(attention: str, pool: str, **backbone: Any) -> Facts:
    return {f'model.backbone.{key}': value for key, value in dict(attention=attention, pool=pool, **backbone).items()}


# The last block computes the class token alone, so multiply-adds are below the published ones; those of the whole are
# held against them in tests/backbones/test_vivit.py.
VIVIT = Family(
    backbone='vidtx_mm.ViViT',
    words={
        'b': size('base', 768),
        'l': size('large', 1024),
        'fe': model('factorized_encoder', 'cls', temporal_depth=lambda depth: depth > 0),
        'avg': model('factorized_encoder', 'cls', temporal_depth=0),
        'fsa': model('factorized_self_attention', 'avg', order='space_first'),
        'fdp': model('factorized_dot_product', 'avg'),
        '16x4': {'model.backbone.tubelet_size': (4, 16, 16)},
        '16x8': {'model.backbone.tubelet_size': (8, 16, 16)},
        'ssv2': {'model.backbone.img_size': 256, 'model.backbone.drop_path_rate': 0.3},
    },
    published={
        'vivit_b_k400': Published(88_954_000, None, VIVIT_B),
        'vivit_b_fe_k400': Published(115_062_928, None, VIVIT_B),
        'vivit_b_fsa_k400': Published(117_319_312, 372.3, VIVIT_B),
        'vivit_b_fdp_k400': Published(88_952_464, 277.1, VIVIT_B),
        'vivit_b_avg_k400': Published(86_696_080, None, VIVIT_B),
        'vivit_b_16x4_k400': Published(88_929_424, None, VIVIT_B),
        'vivit_b_16x8_k400': Published(90_686_608, None, VIVIT_B),
        'vivit_l_k400': Published(307_508_624, None, VIVIT_L),
        'vivit_l_fe_k400': Published(606_827_920, None, VIVIT_L),
        'vivit_l_fe_k600': Published(606_827_920 + 200 * 1025, None, VIVIT_L),
        'vivit_l_fe_ssv2': Published(354_733_230, None, VIVIT_K400),
        'vivit_l_fe_epic': Published(354_903_440 - 3 * 1025, None, VIVIT_K400),
    },
    reduction={
        'model.backbone.arch': dict(_delete_=True, embed_dims=8, depth=2, num_heads=2),
        'model.cls_head.in_channels': 8,
        # The recipe begins with a zero classifier, a rate of nearly zero and, in model 3, no effect of the attention
        # over time: not all would move in two steps.
        'model.cls_head.init_std': 0.1,
        'param_scheduler.0.start_factor': 0.5,
        'optim_wrapper.optimizer.lr': 2.0,
        'model.backbone.drop_path_rate': 0.0,
    },
)

FAMILIES = {
    'swin3d': SWIN,
    'timesformer': TIMESFORMER,
    'uniformer': UNIFORMER,
    'uniformer_xxs': UNIFORMER_LIGHT,
    'uniformer_xs': UNIFORMER_LIGHT,
    'vivit': VIVIT,
}


def family(name: str) -> Family:
    """The family of a config; a name that begins with none is a mistake in the name or a missing row here."""
    first, second, *_ = name.split('_')
    found = FAMILIES.get(f'{first}_{second}') or FAMILIES.get(first)
    assert found, f'{name}: add the family {first!r} to FAMILIES in tests/configs/config_families.py'
    return found


def facts(name: str) -> dict[str, Any]:
    """What the words of a name stand for, in the family and as a data set."""
    found: dict[str, Any] = {}
    tables = [family(name).words, DATA]
    for word in name.split('_')[1:]:
        meanings = [table[word] for table in tables if word in table]
        assert meanings, (
            f'{name}: add the word {word!r} to config_families.py, which has {sorted(set().union(*tables))}'
        )
        for meaning in meanings:
            found |= meaning
    return found


def load(path: Path) -> Config:
    """A copy of the parsed file, which the caller may change."""
    return deepcopy(_parse(path))


@cache
def _parse(path: Path) -> Config:
    return Config.fromfile(path)


def flat(value: Any, key: str = '') -> dict[str, Any]:
    """Dotted keys of nested dicts; lists stay whole."""
    if not isinstance(value, dict | ConfigDict):
        return {key: value}
    items = [flat(inner, f'{key}.{name}' if key else name) for name, inner in value.items()]
    return {name: inner for item in items for name, inner in item.items()}
