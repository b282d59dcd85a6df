"""Sampling, crops and augmentation of the published protocols, as far as MMAction2 lacks them."""

from .color import ClipColorJitter
from .decoding import VideoDecode, VideoInit
from .erasing import NormalizedErasing
from .label_map import CheckLabelMap
from .person_box import RandomScaleRotation
from .rand_augment import RandAugment
from .sampling import SampleClips, SampleSegments
from .spatial import RandomShortSide, ResizeShortSide, ScaleJitter, UniformCrop

__all__ = [
    'CheckLabelMap',
    'ClipColorJitter',
    'NormalizedErasing',
    'RandAugment',
    'RandomScaleRotation',
    'RandomShortSide',
    'ResizeShortSide',
    'SampleClips',
    'SampleSegments',
    'ScaleJitter',
    'UniformCrop',
    'VideoDecode',
    'VideoInit',
]
