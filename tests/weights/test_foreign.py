"""Checkpoints with none of a backbone's keys, through the loaders of the host that only warn about missing keys."""

import pytest
import torch
from forms import TINY, microsoft, official, torchvision, video_swin
from helpers import Recognizer, randomized
from mmaction.apis import init_recognizer
from mmaction.apis.inferencers import ActionRecogInferencer
from mmengine.config import Config
from mmengine.runner import load_checkpoint

CONFIG = Config(
    dict(
        default_scope='mmaction',
        model=dict(
            type='Recognizer3D',
            backbone=dict(TINY, type='vidtx_mm.VideoSwin'),
            cls_head=dict(type='vidtx_mm.VideoClsHead', in_channels=64, num_classes=5),
        ),
        test_pipeline=[],
        test_dataloader=dict(dataset=dict(type='VideoDataset', pipeline=[dict(type='PackActionInputs')])),
    )
)
FILES = {
    'another format': lambda: torchvision(official(randomized(video_swin()))),
    'an image model': lambda: microsoft(video_swin()),
    'another model': lambda: {'conv1.weight': torch.ones(1)},
    'empty': dict,
    'a head': lambda: {'cls_head.fc_cls.weight': torch.ones(5, 64), 'cls_head.fc_cls.bias': torch.ones(5)},
}
LOADERS = {
    'init_recognizer': lambda path: init_recognizer(CONFIG, path, device='cpu'),
    'inferencer': lambda path: ActionRecogInferencer(CONFIG, path, device='cpu'),
    'load_checkpoint': lambda path: load_checkpoint(Recognizer(video_swin()), path),
    'load_state_dict': lambda path: Recognizer(video_swin()).load_state_dict(torch.load(path), strict=False),
}
MESSAGE = r'(?s)VideoSwin: none of its \d+ keys .*vidtx convert.*load_pretrained.*WeightInflationHook'


@pytest.mark.parametrize('file', FILES.values(), ids=FILES)
@pytest.mark.parametrize('load', LOADERS.values(), ids=LOADERS)
def test_every_loader_refuses_them_and_names_the_remedy(tmp_path, load, file):
    torch.save(file(), tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match=MESSAGE):
        load(str(tmp_path / 'a.pth'))


@pytest.mark.parametrize('name', ['another model', 'empty'])
def test_the_initializer_of_the_host_refuses_them(tmp_path, name):
    torch.save(FILES[name](), tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match=MESSAGE):
        video_swin(init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'))).init_weights()


def test_loaders_take_own_checkpoints_and_parts_of_them(tmp_path):
    weights = official(randomized(video_swin()))
    torch.save({'state_dict': weights}, tmp_path / 'a.pth')
    model = init_recognizer(CONFIG, str(tmp_path / 'a.pth'), device='cpu')
    assert torch.equal(model.backbone.norm.weight, weights['backbone.norm.weight'])
    part = {'backbone.norm.weight': torch.full((64,), 3.0)}
    model.load_state_dict(part, strict=False)
    assert torch.equal(model.backbone.norm.weight, part['backbone.norm.weight'])
    head = {key.removeprefix('cls_head.'): value for key, value in weights.items() if key.startswith('cls_head.')}
    model.cls_head.load_state_dict(head)
