"""The official numbers of Video Swin, through ``load_pretrained`` with ``source='auto'``."""

import protocol
import pytest
import torch
from forms import mmaction, torchvision
from mmaction.registry import MODELS

from vidtx_mm.backbones import VideoSwin
from vidtx_mm.weights import load_pretrained


def filled(keys):
    """The protocol's weights for a key list, and buffers of the listed shapes."""
    drawn = protocol.fill({key: shape for key, shape, *_ in keys})
    buffers = {key: torch.zeros(shape, dtype=torch.int64) for key, shape, *_ in keys if key not in drawn}
    return {key: torch.from_numpy(array) for key, array in drawn.items()} | buffers


def recognizer(config, relative_index):
    backbone = dict(type='vidtx_mm.VideoSwin', arch={'t': 'tiny'}[config['arch']], relative_index=relative_index)
    backbone |= {key: config[key] for key in ('patch_size', 'window_size', 'drop_path_rate')}
    head = dict(type='vidtx_mm.VideoClsHead', num_classes=config['num_classes'], in_channels=8 * config['embed_dim'])
    return MODELS.build(dict(type='Recognizer3D', _scope_='mmaction', backbone=backbone, cls_head=head)).double().eval()


@pytest.mark.parametrize('window', ['w877', 'w1677'])
def test_inflation(window):
    case = protocol.case(f'inflate_swin_t_{window}')
    file = filled(case['input_state_dict'])
    model = VideoSwin(patch_size=case['config']['patch_size'], window_size=case['config']['window_size'])
    load_pretrained(model, {'model': file})
    found = model.state_dict()
    for key, expected in case['outputs'].items():
        assert protocol.compare(expected, found[key]) < 1e-6
    assert all(torch.equal(found[key], file[key]) for key in case['copied_unchanged'])
    assert len(case['outputs']) + len(case['copied_unchanged']) == len(found)


FORMS = {'official': dict, 'mmaction': mmaction, 'torchvision': torchvision}


@pytest.mark.parametrize(
    'name, form, relative_index',
    [
        ('derived_swin_t_k400_in8x96x80_right_index', 'mmaction', 'exact'),
        ('derived_swin_t_k400_in8x96x80_right_index', 'torchvision', 'exact'),
        ('swin_t_k400_in8x96x80_quirk', 'official', 'upstream'),
        ('swin_t_k400_in24x224', 'mmaction', 'exact'),
        ('swin_t_k400_in32x224', 'torchvision', 'exact'),
    ],
)
def test_outputs(name, form, relative_index):
    case = protocol.case(name)
    model = recognizer(case['config'], relative_index)
    report = load_pretrained(model, {'state_dict': FORMS[form](filled(case['state_dict']))})
    assert report.coverage == 1
    clip = torch.from_numpy(protocol.input_array(case['input']['name'], case['input']['shape'])).double()
    with torch.no_grad():
        features = model.backbone(clip)
        logits = model.cls_head(features)
    assert protocol.compare(case['outputs']['backbone'], features) < 1e-6
    assert protocol.compare(case['outputs']['logits'], logits) < 1e-6
