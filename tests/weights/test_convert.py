"""``vidtx convert``, run in this process."""

import re
from pathlib import Path

import pytest
import torch
from forms import microsoft, mmaction, official, torchvision, video_swin
from helpers import randomized
from test_flax import write
from vivit_forms import CLASSES, TINY, flax, nested, vivit, with_head

from vidtx_mm.cli import main

CONFIG = """
default_scope = 'vidtx_mm'
model = dict(
    type='VideoSwin',
    arch=dict(embed_dims=8, depths=(1, 1, 2, 1), num_heads=(2, 2, 2, 4)),
    window_size=(2, 3, 3),
)
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def convert(*args):
        code = main(['convert', *map(str, args)])
        return code, *capsys.readouterr()

    return convert


@pytest.fixture
def convert(run):
    def printed(*args):
        code, out, err = run(*args)
        assert code == 0, err
        return out

    return printed


@pytest.fixture
def weights():
    return official(randomized(video_swin()))


@pytest.mark.parametrize('form', [dict, mmaction, torchvision])
def test_video_files_need_no_config(convert, weights, form, tmp_path):
    torch.save(form(weights), 'a.pth')
    printed = convert('a.pth', 'new/b.pth')
    written = torch.load('new/b.pth', weights_only=True)
    assert written.keys() == {'meta', 'state_dict'}
    wanted = {key: value for key, value in weights.items() if not key.endswith('index')}
    assert written['state_dict'].keys() == wanted.keys()
    assert all(torch.equal(written['state_dict'][key], wanted[key]) for key in wanted)
    assert 'a.pth' in printed and '100.0 %' in printed and 'wrote new/b.pth' in printed
    assert 'mean and std were not compared' in printed
    assert written['meta']['report'] in printed


def test_image_files_are_brought_to_the_model_of_a_config(convert, tmp_path):
    file = microsoft(video_swin())
    torch.save({'model': file}, 'a.pth')
    Path('config.py').write_text(CONFIG)
    printed = convert('a.pth', 'b.pth', '--config', 'config.py', '--inflate', 'center')
    kernel = torch.load('b.pth', weights_only=True)['state_dict']['patch_embed.proj.weight']
    assert torch.equal(kernel[:, :, 1], file['patch_embed.proj.weight']) and not kernel[:, :, 0].any()
    assert 'center over 2 frames' in printed
    convert('a.pth', 'c.pth', '--config', 'config.py', '--cfg-options', 'model.window_size=(4,3,3)')
    table = torch.load('c.pth', weights_only=True)['state_dict']['layers.0.blocks.0.attn.relative_position_bias_table']
    assert table.shape == (7 * 25, 2)


@pytest.mark.parametrize('mean, notes', [([127.5] * 3, 0), ([0.0] * 3, 1)], ids=['as published', 'other'])
def test_the_preprocessing_of_the_config_is_compared(convert, mean, notes):
    write(Path('a.msgpack'), nested(flax(with_head(vivit().state_dict(), 'head'))))
    mixup = dict(type='MixupBlending', alpha=0.8, num_classes=CLASSES)
    preprocessor = dict(type='ActionDataPreprocessor', mean=mean, std=[127.5] * 3, format_shape='NCTHW', blending=mixup)
    head = dict(type='vidtx_mm.VideoClsHead', in_channels=16, num_classes=CLASSES, pool='none')
    backbone = dict(TINY, type='vidtx_mm.ViViT')
    model = dict(type='Recognizer3D', backbone=backbone, cls_head=head, data_preprocessor=preprocessor)
    Path('config.py').write_text(f'model = {model!r}')
    printed = convert('a.msgpack', 'b.pth', '--config', 'config.py')
    assert printed.count('pixels / 127.5 - 1') == notes and '100.0 %' in printed


@pytest.mark.parametrize(
    'content, message',
    [
        (lambda: {'model': microsoft(video_swin())}, 'convert: a.pth: an image model .* give the config'),
        (lambda: {'fc.weight': torch.ones(1)}, 'convert: a.pth: its keys .* match no known source'),
    ],
    ids=['image', 'unknown'],
)
def test_files_that_cannot_be_converted(run, content, message):
    torch.save(content(), 'a.pth')
    code, _, err = run('a.pth', 'b.pth')
    assert code == 2 and re.search(message, err)
    assert not Path('b.pth').exists()


def test_values_that_are_not_finite(run, weights):
    weights['backbone.norm.bias'][3] = torch.nan
    torch.save(weights, 'a.pth')
    Path('config.py').write_text(CONFIG)
    code, _, err = run('a.pth', 'b.pth', '--config', 'config.py')
    assert code == 2 and 'norm.bias: 1 of 64 values are NaN' in err and not Path('b.pth').exists()
    code, out, _ = run('a.pth', 'b.pth', '--config', 'config.py', '--allow-nonfinite')
    assert code == 0 and 'wrote b.pth' in out


@pytest.mark.parametrize(
    'args, message',
    [
        (('a.pth', 'a.pth'), 'a.pth exists: delete it'),
        (('a.pth', 'b.bin'), 'must end in .pth'),
        (('a.pth', 'b.pth', '--inflate', 'mean'), 'give its --config'),
    ],
)
def test_bad_arguments(run, weights, args, message):
    torch.save(weights, 'a.pth')
    code, _, err = run(*args)
    assert code == 2 and message in err
