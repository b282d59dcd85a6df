"""What the protocols take from MMAction2 as it is (docs/transforms.md)."""

import numpy as np
import pytest
import torch
from mmaction.datasets.transforms import Flip, RandomCrop
from mmaction.models import ActionDataPreprocessor
from mmaction.structures import ActionDataSample


@pytest.mark.parametrize('to_rgb', [False, True])
def test_to_rgb_reverses_the_channels_of_clips(to_rgb):
    clip = torch.arange(3.0).view(1, 3, 1, 1, 1).expand(1, 3, 2, 4, 4)
    preprocess = ActionDataPreprocessor(mean=[0] * 3, std=[1] * 3, to_rgb=to_rgb, format_shape='NCTHW')
    out = preprocess(dict(inputs=[clip], data_samples=[ActionDataSample()]))['inputs']
    assert out[0, 0, :, 0, 0, 0].tolist() == ([2, 1, 0] if to_rgb else [0, 1, 2])


@pytest.mark.parametrize(('flip_ratio', 'label'), [(0.0, 93), (1.0, 94)])
def test_flip_exchanges_labels_with_the_frames(flip_ratio, label):
    frames = [np.arange(12, dtype=np.uint8).reshape(2, 2, 3)]
    results = Flip(flip_ratio=flip_ratio, flip_label_map={93: 94, 94: 93})(
        dict(imgs=[frames[0].copy()], img_shape=(2, 2), modality='RGB', label=93)
    )
    assert results['label'] == label
    assert (results['imgs'][0] == (frames[0][:, ::-1] if flip_ratio else frames[0])).all()


def test_random_crop_leaves_out_the_last_offset():
    """As the official TimeSformer code does (transform.py::random_crop)."""
    offsets = set()
    for _ in range(100):
        results = RandomCrop(size=4)(dict(imgs=[np.zeros((4, 6, 3))], img_shape=(4, 6), modality='RGB'))
        offsets.add(int(results['crop_bbox'][0]))
    assert offsets == {0, 1}
