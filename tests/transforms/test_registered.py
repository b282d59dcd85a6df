import pickle

import pytest
from mmengine.registry import TRANSFORMS

import vidtx_mm.transforms

OPTIONS = {
    'CheckLabelMap': dict(num_classes=3),
    'ClipColorJitter': {},
    'RandomShortSide': dict(scale_range=(256, 320)),
    'ResizeShortSide': dict(size=256),
    'NormalizedErasing': dict(mean=[127.5] * 3, std=[127.5] * 3),
    'RandAugment': dict(policy='increasing', magnitude=7, num_ops=4),
    'RandomScaleRotation': {},
    'SampleClips': dict(protocol='vivit', clip_len=32),
    'SampleSegments': dict(clip_len=16),
    'ScaleJitter': {},
    'UniformCrop': dict(crop_size=224),
    'VideoDecode': {},
    'VideoInit': dict(short_side=320),
}


@pytest.mark.parametrize('name', vidtx_mm.transforms.__all__)
def test_found_by_scope_and_sent_to_workers(name):
    transform = TRANSFORMS.build(dict(type=f'vidtx_mm.{name}', **OPTIONS[name]))
    assert type(transform) is getattr(vidtx_mm.transforms, name)
    again = pickle.loads(pickle.dumps(transform))
    assert repr(again) == repr(transform) and repr(transform).startswith(f'{name}(')
