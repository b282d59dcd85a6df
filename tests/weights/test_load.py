"""Strict loading: every source, the policies, and everything that must be refused."""

import re

import pytest
import torch
from forms import CLASSES, microsoft, mmaction, official, torchvision, video_swin
from helpers import Recognizer, randomized
from safetensors.torch import save_file
from torch import nn

from vidtx_mm.weights import CheckpointError, Options, adapt, load_pretrained, open_checkpoint
from vidtx_mm.weights.sources import SOURCES, Source


def state(model):
    return {key: value.clone() for key, value in model.state_dict().items()}


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture
def weights():
    return official(randomized(video_swin()))


FORMS = {'video_swin': dict, 'mmaction_swin': mmaction, 'torchvision_swin3d': torchvision}


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize('source, form', FORMS.items(), ids=FORMS)
def test_all_video_forms_give_the_same_model(tmp_path, weights, source, form, suffix):
    if suffix == '.pth':
        torch.save({'meta': {}, 'state_dict': form(weights)}, tmp_path / 'a.pth')
    else:
        save_file(form(weights), tmp_path / 'a.safetensors')
    model = Recognizer(video_swin())
    report = load_pretrained(model, tmp_path / f'a{suffix}')
    wanted = {key: value for key, value in weights.items() if not key.endswith('index')}
    assert equal(state(model), wanted)
    assert report.coverage == 1
    assert len(report.keys('dropped')) == 5  # the index of each block
    assert len(report.keys('renamed')) == {'video_swin': 0, 'mmaction_swin': 2}.get(source, len(wanted) - 6)


@pytest.mark.parametrize('source', FORMS)
def test_a_named_source_loads_like_the_recognized_one(weights, source):
    model = Recognizer(video_swin())
    load_pretrained(model, FORMS[source](weights), source=source)
    assert torch.equal(model.backbone.norm.weight, weights['backbone.norm.weight'])


def test_own_checkpoints_go_round(tmp_path, weights):
    first, second = Recognizer(randomized(video_swin())), Recognizer(video_swin())
    torch.save(dict(meta=dict(epoch=1), state_dict=first.state_dict()), tmp_path / 'epoch_1.pth')
    report = load_pretrained(second, tmp_path / 'epoch_1.pth')
    assert equal(state(first), state(second))
    assert report.source == 'vidtx_mm' and len(report.keys('copied')) == len(state(first))
    bare = video_swin()
    load_pretrained(bare, first.backbone.state_dict())
    assert equal(state(bare), state(first.backbone))


@pytest.mark.parametrize('design', ['split', 'factorized'])
def test_own_checkpoints_of_the_other_designs_go_round(design):
    first, second = randomized(video_swin(attention=design)), video_swin(attention=design)
    load_pretrained(second, first.state_dict())
    assert equal(state(first), state(second))


@pytest.mark.parametrize('design', ['joint', 'split', 'factorized'])
def test_own_checkpoints_change_windows(design):
    small = Recognizer(randomized(video_swin(attention=design)))
    wide = Recognizer(video_swin(attention=design, window_size=(4, 5, 5)))
    report = load_pretrained(wide, small.state_dict())
    tables = [key for key in small.state_dict() if key.endswith('bias_table')]
    assert sorted(report.keys('resized')) == sorted(tables)


def test_a_model_inside_a_wrapper_is_loaded(weights):
    model = nn.DataParallel(Recognizer(video_swin()))
    load_pretrained(model, {f'module.{key}': value for key, value in weights.items()})
    assert torch.equal(model.module.backbone.norm.weight, weights['backbone.norm.weight'])


@pytest.mark.parametrize('inflate, share', [(None, (0.5, 0.5)), ('mean', (0.5, 0.5)), ('center', (0, 1))])
def test_image_models_are_inflated(inflate, share):
    file = microsoft(video_swin())
    model = Recognizer(video_swin())
    head = state(model.cls_head)
    report = load_pretrained(model, {'model': file}, inflate=inflate)
    kernel = model.backbone.patch_embed.proj.weight
    for frame, part in enumerate(share):
        assert torch.equal(kernel[:, :, frame], file['patch_embed.proj.weight'] * part)
    table = file['layers.1.blocks.0.attn.relative_position_bias_table']
    assert torch.equal(model.backbone.layers[1].blocks[0].attn.relative_position_bias_table, table.repeat(3, 1))
    assert equal(head, state(model.cls_head))
    assert len(report.keys('inflated')) == 6 and report.keys('left at init') == list(f'cls_head.{key}' for key in head)
    assert 'an image classifier does not serve video' in str(report)


def test_image_tables_of_another_window_are_resized():
    file = microsoft(video_swin(), window=6)
    model = video_swin()
    report = load_pretrained(model, file)
    table = file['layers.0.blocks.0.attn.relative_position_bias_table'].t().reshape(1, 2, 11, 11)
    small = nn.functional.interpolate(table, (5, 5), mode='bicubic').flatten(2)[0].t()
    torch.testing.assert_close(model.layers[0].blocks[0].attn.relative_position_bias_table, small.repeat(3, 1))
    assert 'window (6, 6) -> (2, 3, 3), bicubic in space, repeated for 3 offsets in time' in str(report)


@pytest.mark.parametrize('window', [(4, 3, 3), (2, 4, 4), (4, 4, 4), (1, 2, 2)])
@pytest.mark.parametrize('indices', [True, False], ids=['with index', 'without index'])
def test_video_tables_of_another_window_are_resized(weights, window, indices):
    if not indices:
        weights = {key: value for key, value in weights.items() if not key.endswith('index')}
    report = load_pretrained(video_swin(window_size=window), weights)
    assert len(report.keys('resized')) == 5
    assert f'window (2, 3, 3) -> {window}' in str(report)


def test_tables_that_do_not_tell_their_window_are_refused():
    """243 rows are a (2, 5, 5) window or a (14, 2, 2) one."""
    file = video_swin(window_size=(2, 5, 5)).state_dict()
    with pytest.raises(CheckpointError, match='window does not follow from 243 relative positions .*: set window_size'):
        load_pretrained(video_swin(window_size=(4, 4, 4)), file)
    for agreeing in ((2, 4, 4), (4, 5, 5)):
        report = load_pretrained(video_swin(window_size=agreeing), file)
        assert f'window (2, 5, 5) -> {agreeing}' in str(report)


def test_nearest_tables_hold_only_values_of_the_file(weights):
    model = video_swin(window_size=(2, 4, 4))
    load_pretrained(model, weights, pos_interpolation='nearest')
    found = model.layers[0].blocks[0].attn.relative_position_bias_table
    assert torch.isin(found, weights['backbone.layers.0.blocks.0.attn.relative_position_bias_table']).all()


@pytest.mark.parametrize('design', ['split', 'factorized'])
def test_what_image_models_lack_stays_at_init(design):
    model = video_swin(attention=design)
    before = state(model)
    report = load_pretrained(model, microsoft(model_2d := video_swin()))
    temporal = [key for key in before if 'temporal' in key]
    assert report.keys('left at init') == temporal
    assert all(torch.equal(before[key], model.state_dict()[key]) for key in temporal)
    assert model_2d.state_dict().keys() == before.keys() - set(temporal)


def test_more_or_fewer_outputs_than_the_file():
    file = microsoft(video_swin())
    report = load_pretrained(video_swin(out_indices=(0, 3)), file)
    assert report.keys('left at init') == ['norm0.weight', 'norm0.bias']
    report = load_pretrained(video_swin(out_indices=(1,)), file)
    assert {'norm.weight', 'norm.bias'} <= set(report.keys('dropped'))


def test_the_head_is_left_at_init_for_other_classes(weights):
    model = Recognizer(video_swin(), classes=3)
    head = state(model.cls_head)
    report = load_pretrained(model, weights)
    assert equal(head, state(model.cls_head))
    assert report.keys('left at init') == ['cls_head.fc_cls.weight', 'cls_head.fc_cls.bias']
    assert '5 outputs in the file, 3 in the model' in str(report)
    assert 0.9 < report.coverage < 1


def test_the_head_can_be_dropped_or_required(weights):
    model = Recognizer(video_swin())
    head = state(model.cls_head)
    load_pretrained(model, weights, head='drop')
    assert equal(head, state(model.cls_head))
    with pytest.raises(CheckpointError, match=r'fc_cls.weight: \(5, 64\) in the file, \(3, 64\) in the model'):
        load_pretrained(Recognizer(video_swin(), classes=3), weights, head='keep')
    with pytest.raises(CheckpointError, match='not in the file .2.: cls_head.fc_cls.weight'):
        load_pretrained(model, video_swin().state_dict(), head='keep')
    load_pretrained(model, microsoft(video_swin(), classes=CLASSES), head='keep')
    assert not equal(head, state(model.cls_head))


def test_half_a_head_is_refused(weights):
    del weights['cls_head.fc_cls.bias']
    with pytest.raises(CheckpointError, match='not in the file .1.: cls_head.fc_cls.bias'):
        load_pretrained(Recognizer(video_swin()), weights)


def test_a_backbone_takes_its_part_of_a_recognizer_file(weights):
    model = video_swin()
    report = load_pretrained(model, weights)
    assert torch.equal(model.norm.weight, weights['backbone.norm.weight'])
    assert {'cls_head.fc_cls.weight', 'cls_head.fc_cls.bias'} <= set(report.keys('dropped'))
    assert 'the model is a bare backbone' in str(report)


def test_a_model_without_family_is_refused(weights):
    with pytest.raises(CheckpointError, match='Linear is not a vidtx_mm backbone and has no .backbone that is one'):
        load_pretrained(nn.Linear(2, 2), weights)


def without(weights, key):
    return {name: value for name, value in weights.items() if name != key}


BAD = {
    'a missing key': (
        lambda w: without(w, 'backbone.layers.2.blocks.1.mlp.fc2.bias'),
        {},
        'in the model, not in the file .1.: layers.2.blocks.1.mlp.fc2.bias',
    ),
    'an unknown key': (
        lambda w: {**w, 'backbone.layers.0.extra': torch.ones(1)},
        {},
        'in the file, not in the model .1.: layers.0.extra',
    ),
    'an unknown module': (
        lambda w: {**w, 'neck.weight': torch.ones(1)},
        {},
        'unknown keys for official Video Swin: neck.weight',
    ),
    'another number of heads': (
        lambda w: w,
        dict(arch=dict(embed_dims=8, depths=(1, 1, 2, 1), num_heads=(2, 2, 2, 2))),
        'layers.3.blocks.0.attn.relative_position_bias_table: 4 heads in the file, 2 in the model',
    ),
    'another depth': (
        lambda w: w,
        dict(arch=dict(embed_dims=8, depths=(1, 1, 3, 1), num_heads=(2, 2, 2, 4))),
        'in the model, not in the file .13.: layers.2.blocks.2.norm1.weight',
    ),
    'another width': (
        lambda w: w,
        dict(arch=dict(embed_dims=16, depths=(1, 1, 2, 1), num_heads=(2, 2, 2, 4))),
        'patch_embed.proj.weight: 8 output channels in the file, 16 in the model',
    ),
    'another patch': (lambda w: w, dict(patch_size=(4, 4, 4)), 'patch_embed.proj.weight: 2 frames in the file, 4 in'),
    'other input channels': (lambda w: w, dict(in_channels=1), 'proj.weight: 3 input channels in the file, 1 in the'),
}


@pytest.mark.parametrize('spoil, kwargs, message', BAD.values(), ids=BAD)
def test_mismatches_are_refused_and_nothing_is_loaded(weights, spoil, kwargs, message):
    model = video_swin(**kwargs)
    before = state(model)
    with pytest.raises(CheckpointError, match=f'{re.escape("a dict in memory")}(.|\n)*{message}'):
        load_pretrained(model, spoil(weights))
    assert equal(before, state(model))


def test_one_error_lists_both_sides_and_the_remedy(weights):
    spoilt = {**without(weights, 'backbone.norm.bias'), 'backbone.layers.0.extra': torch.ones(1)}
    spoilt['backbone.norm.weight'] = torch.ones(3)
    with pytest.raises(CheckpointError) as caught:
        load_pretrained(video_swin(), spoilt)
    lines = str(caught.value).splitlines()
    assert lines[0] == 'a dict in memory (official Video Swin) does not fit VideoSwin:'
    assert 'norm.bias' in lines[1] and 'layers.0.extra' in lines[2]
    assert lines[3].strip() == 'shape mismatch (1):'
    assert lines[4].strip() == 'norm.weight: (3,) in the file, (64,) in the model'
    assert 'Build the model like the file' in lines[-1]


def test_a_3d_checkpoint_is_not_for_a_2d_model(weights):
    model = video_swin()
    model.ndim = 2
    with pytest.raises(CheckpointError, match='this is a 3-D .video. checkpoint .official Video Swin.'):
        load_pretrained(model, weights)


def test_another_familys_checkpoint_is_named(monkeypatch):
    toy = Source(name='toy', title='Toy files', families=('toy',), ndim=3, signature={'toy': 1}, backbone=())
    monkeypatch.setitem(SOURCES, 'toy', toy)
    with pytest.raises(CheckpointError, match='this is a checkpoint of toy .Toy files.: build that model'):
        load_pretrained(video_swin(), {'toy': torch.ones(1)})


def test_the_checkpoint_in_memory_is_not_changed(weights):
    file = {'model': microsoft(video_swin(), window=4)}
    before = {key: value.clone() for key, value in file['model'].items()}
    models = [video_swin(), video_swin()]
    for model in models:
        load_pretrained(model, file)
    assert equal(before, file['model'])
    assert equal(state(models[0]), state(models[1]))


def test_adapt_changes_nothing(weights):
    model = Recognizer(video_swin())
    before = state(model)
    state_dict, report = adapt(open_checkpoint(weights), model)
    assert equal(before, state(model))
    assert state_dict.keys() == before.keys() and report.coverage == 1


def test_half_precision_files_fill_double_precision_models(weights):
    half = {key: value.half() if value.is_floating_point() else value for key, value in weights.items()}
    model = video_swin(window_size=(2, 4, 4)).double()
    load_pretrained(model, half)
    assert all(value.dtype == torch.float64 for value in model.state_dict().values())
    assert torch.equal(model.norm.weight, half['backbone.norm.weight'].double())


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_before_rules_apply(weights, dtype):
    low = {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}
    wide = {key: value.float() if value.is_floating_point() else value for key, value in low.items()}
    models = [Recognizer(video_swin(window_size=(3, 4, 4))) for _ in range(2)]
    assert load_pretrained(models[0], low).keys('resized')
    load_pretrained(models[1], wide)
    assert equal(*map(state, models))


def test_options_are_checked():
    for name, value in dict(source='timm', inflate='average', head='yes', pos_interpolation='cubic').items():
        with pytest.raises(ValueError, match=f'{name}={value!r}: choose one of .*'):
            Options(**{name: value})
    with pytest.raises(TypeError, match='unknown option inflation: choose from source, inflate, head, .*pos_interp'):
        Options.parse(dict(inflation='mean'))


def test_inflating_a_video_checkpoint_is_noted(weights):
    assert "inflate='mean' had no effect" in str(load_pretrained(video_swin(), weights, inflate='mean'))


def test_the_report_is_short_where_nothing_happened_and_complete_on_disk(tmp_path):
    model = video_swin()
    report = load_pretrained(model, video_swin().state_dict())
    assert len(str(report).splitlines()) == 3
    report.save(tmp_path / 'new' / 'report.txt')
    text = (tmp_path / 'new' / 'report.txt').read_text()
    assert text.startswith(str(report))
    assert all(f'copied\t{key}\n' in text for key in model.state_dict())
