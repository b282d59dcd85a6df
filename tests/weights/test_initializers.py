"""``init_cfg=dict(type='vidtx_mm.FromPretrained')`` through MMEngine's own initialization."""

import pytest
import torch
from forms import microsoft, official, video_swin
from helpers import randomized
from runs import Recognizer, runner

from vidtx_mm.weights import CheckpointError


@pytest.fixture
def image_file(tmp_path):
    weights = microsoft(video_swin())
    torch.save({'model': weights}, tmp_path / 'swin.pth')
    return str(tmp_path / 'swin.pth'), weights


@pytest.fixture
def video_file(tmp_path):
    weights = official(randomized(video_swin()))
    torch.save({'state_dict': weights}, tmp_path / 'video.pth')
    return str(tmp_path / 'video.pth'), weights


def pretrained(path, **kwargs):
    return dict(type='vidtx_mm.FromPretrained', checkpoint=path, **kwargs)


def test_a_backbone_is_inflated(image_file):
    path, weights = image_file
    backbone = video_swin(init_cfg=pretrained(path, inflate='center'))
    backbone.init_weights()
    assert torch.equal(backbone.patch_embed.proj.weight[:, :, 1], weights['patch_embed.proj.weight'])
    assert not backbone.patch_embed.proj.weight[:, :, 0].any()


def test_a_backbone_inside_a_recognizer_is_loaded_and_the_head_initialized(image_file):
    path, weights = image_file
    model = Recognizer(backbone_init_cfg=pretrained(path))
    model.init_weights()
    assert torch.equal(model.backbone.norm.weight, weights['norm.weight'])
    assert 0.005 < model.cls_head.fc_cls.weight.std() < 0.02


def test_later_initializers_of_the_list_win(image_file):
    path, weights = image_file
    constant = dict(type='Constant', layer='LayerNorm', val=3.0)
    for cfgs, expected in (([constant, pretrained(path)], weights['norm.weight']), ([pretrained(path), constant], 3.0)):
        backbone = video_swin(init_cfg=cfgs)
        backbone.init_weights()
        assert torch.all(backbone.norm.weight == expected)


def test_a_whole_recognizer_keeps_its_head_against_the_heads_own_init_cfg(video_file):
    path, weights = video_file
    model = Recognizer(init_cfg=pretrained(path))
    model.init_weights()
    assert torch.equal(model.cls_head.fc_cls.weight, weights['cls_head.fc_cls.weight'])
    assert torch.equal(model.backbone.norm.weight, weights['backbone.norm.weight'])


def test_a_head_of_other_classes_is_initialized_by_its_own_init_cfg(video_file):
    path, weights = video_file
    model = Recognizer(init_cfg=pretrained(path), classes=3)
    model.init_weights()
    assert 0.005 < model.cls_head.fc_cls.weight.std() < 0.02
    assert torch.equal(model.backbone.norm.weight, weights['backbone.norm.weight'])


def test_the_initializer_nearer_to_the_backbone_wins(video_file, image_file):
    path, weights = image_file
    model = Recognizer(init_cfg=pretrained(video_file[0]), backbone_init_cfg=pretrained(path))
    model.init_weights()
    assert torch.equal(model.backbone.norm.weight, weights['norm.weight'])


def test_the_initialization_record_names_the_file(image_file, caplog):
    path, _ = image_file
    backbone = video_swin(init_cfg=pretrained(path))
    recorded = {}

    def record():
        recorded.update({name: backbone._params_init_info[p]['init_info'] for name, p in backbone.named_parameters()})

    backbone._dump_init_info = record
    backbone.init_weights()
    assert set(recorded.values()) == {f'FromPretrained: Microsoft 2-D Swin from {path}'}


def test_a_training_run_saves_the_report(tmp_path, image_file):
    run = runner(tmp_path / 'work', Recognizer(backbone_init_cfg=pretrained(image_file[0])), 'train', hooks=())
    run.train()
    assert 'swin.pth (Microsoft 2-D Swin' in (tmp_path / 'work' / 'pretrained_report.txt').read_text()


def test_bad_options_and_files_are_refused(tmp_path):
    with pytest.raises(TypeError, match='unknown option inflation'):
        video_swin(init_cfg=pretrained('a.pth', inflation='mean')).init_weights()
    for checkpoint in ('', None, float('nan')):
        with pytest.raises(ValueError, match='FromPretrained: checkpoint=.*: give a path or a web address'):
            video_swin(init_cfg=pretrained(checkpoint)).init_weights()
    with pytest.raises(ValueError, match="inflate='average'"):
        video_swin(init_cfg=pretrained('a.pth', inflate='average')).init_weights()
    with pytest.raises(CheckpointError, match='a.pth does not exist'):
        video_swin(init_cfg=pretrained(str(tmp_path / 'a.pth'))).init_weights()
