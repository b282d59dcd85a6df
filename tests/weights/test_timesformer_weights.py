"""TimeSformer's checkpoints: published forms, the start from an image ViT, position embeddings, and the known traps."""

from pathlib import Path

import pytest
import torch
from forms import listed
from helpers import Recognizer
from torch.nn import functional as F

from vidtx_mm.backbones import VideoTimeSformer
from vidtx_mm.optim import TransformerOptimConstructor
from vidtx_mm.weights import CheckpointError, load_pretrained
from vidtx_mm.weights.sources import SOURCES, canonical, detect

KEYS = Path(__file__).parents[1] / 'goldens' / 'keys'
SMALL = dict(arch=dict(embed_dims=16, depth=2, num_heads=2), img_size=16, patch_size=4, num_frames=4)
# Source, key list, the scheme and head of the model it belongs to.
LISTS = [
    ('timesformer', 'timesformer_divST_8f224_k400_official_pyth', 'divided'),
    ('mmaction_timesformer', 'timesformer_divST_8f224_k400_mmaction2', 'divided'),
    ('mmaction_timesformer_joint', 'timesformer_jointST_8f224_k400_mmaction2', 'joint'),
    ('mmaction_timesformer_space', 'timesformer_spaceOnly_8f224_k400_mmaction2', 'space'),
    ('huggingface_timesformer', 'timesformer_base_k400_huggingface', 'divided'),
]


def meta(name: str) -> dict[str, torch.Tensor]:
    return {key: torch.empty(shape, device='meta') for key, shape in listed(KEYS / f'{name}.txt').items()}


@pytest.mark.parametrize('name, keys, attention', LISTS)
def test_published_key_lists_are_recognized_and_fully_mapped(name, keys, attention):
    file = meta(keys)
    assert [source.name for source in SOURCES.values() if source.recognizes(file)] == [name]
    mapped = canonical(file, SOURCES[name])
    with torch.device('meta'):
        backbone = VideoTimeSformer(attention=attention)
    head = {'cls_head.fc_cls.weight': torch.Size([400, 768]), 'cls_head.fc_cls.bias': torch.Size([400])}
    assert shapes(mapped.backbone) == {key: value.shape for key, value in backbone.state_dict().items()}
    assert shapes(mapped.head) == head


def shapes(weights) -> dict[str, torch.Size]:
    return {key: weight.tensor.shape for key, weight in weights.items()}


def build(seed: int = 0, **kwargs) -> VideoTimeSformer:
    """A small model with every parameter drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    model = VideoTimeSformer(**{**SMALL, **kwargs})
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator)
    return model


def official(model: VideoTimeSformer, classes: int = 5) -> dict[str, torch.Tensor]:
    """The ``model_state`` of an official .pyth file."""
    head = {'head.weight': torch.randn(classes, 16), 'head.bias': torch.randn(classes)}
    return {f'model.{key}': value.clone() for key, value in {**model.state_dict(), **head}.items()}


def image_vit(classes: int = 7, grid: int = 4) -> dict[str, torch.Tensor]:
    """A timm ViT's state dict."""
    vit = {
        key: value.clone() for key, value in build(seed=1, attention='space', img_size=4 * grid).state_dict().items()
    }
    return vit | {'head.weight': torch.randn(classes, 16), 'head.bias': torch.randn(classes)}


def mmaction_vit() -> dict[str, torch.Tensor]:
    """The same image ViT under MMAction2's names."""
    names = {
        'norm1': 'norms.0',
        'norm2': 'norms.1',
        'attn.qkv.weight': 'attentions.0.attn.in_proj_weight',
        'attn.qkv.bias': 'attentions.0.attn.in_proj_bias',
        'attn.proj': 'attentions.0.attn.out_proj',
        'mlp.fc1': 'ffns.0.layers.0.0',
        'mlp.fc2': 'ffns.0.layers.1',
        'blocks': 'transformer_layers.layers',
        'patch_embed.proj': 'patch_embed.projection',
    }
    file = {}
    for key, value in image_vit().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        file[key] = value
    return {key: value for key, value in file.items() if not key.startswith('head.')}


def test_pyth_file_with_optimizer_and_config(tmp_path):
    """The container of the official files, read without running their pickles."""
    source = build()
    optimizer = torch.optim.SGD(source.parameters(), lr=0.1, momentum=0.9)
    container = dict(epoch=14, model_state=official(source), optimizer_state=optimizer.state_dict(), cfg='TRAIN: {}')
    torch.save(container, tmp_path / 'TimeSformer_divST_8x32_224_K400.pyth')
    model = Recognizer(VideoTimeSformer(**SMALL))
    report = load_pretrained(model, tmp_path / 'TimeSformer_divST_8x32_224_K400.pyth')
    assert report.coverage == 1 and report.container == 'model_state'
    for key, value in source.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[key], value)
    assert torch.equal(model.cls_head.fc_cls.weight, container['model_state']['model.head.weight'])


@pytest.mark.parametrize('file', [image_vit, mmaction_vit])
@pytest.mark.parametrize('attention', ['space', 'joint', 'divided', 'local_global', 'axial'])
def test_start_from_an_image_vit(file, attention):
    """Added attentions start as copies of the spatial one, without effect; the classifier is not taken (section 4)."""
    vit, model = image_vit(), Recognizer(VideoTimeSformer(**SMALL, attention=attention))
    fc = model.cls_head.fc_cls.weight.clone()
    report = load_pretrained(model, file())
    weights = model.backbone.state_dict()
    for key, value in vit.items():
        if not key.startswith('head.'):
            assert torch.equal(weights[key], value), key
    assert torch.equal(model.cls_head.fc_cls.weight, fc)
    added = {'divided': ['temporal'], 'local_global': ['local'], 'axial': ['temporal', 'width']}.get(attention, [])
    for name in added:
        for leaf in ('attn.qkv.weight', 'attn.proj.bias', 'norm1.weight'):
            assert torch.equal(weights[f'blocks.1.{name}_{leaf}'], vit[f'blocks.1.{leaf}'])
        assert not weights[f'blocks.1.{name}_fc.weight'].any() and not weights[f'blocks.1.{name}_fc.bias'].any()
    assert 'time_embed' not in weights or not weights['time_embed'].any()
    assert len(report.keys('borrowed')) == 12 * len(added)
    assert not report.keys('inflated') and not report.notes


def test_divided_model_from_an_image_vit_answers_a_still_clip_like_the_image_model():
    video, image = (VideoTimeSformer(**SMALL, attention=name).eval() for name in ('divided', 'space'))
    for model in (video, image):
        load_pretrained(model, image_vit())
    frame = torch.randn(2, 3, 1, 16, 16)
    torch.testing.assert_close(video(frame.expand(-1, -1, 4, -1, -1)), image(frame))


def test_finished_weights_are_never_copied_over():
    """MMAction2 (timesformer.py, init_weights) overwrites their spatial attention by the temporal one."""
    file = official(build())
    model = Recognizer(VideoTimeSformer(**SMALL))
    report = load_pretrained(model, file)
    assert not report.keys('borrowed')
    weights = model.backbone.state_dict()
    assert not torch.equal(weights['blocks.0.attn.qkv.weight'], weights['blocks.0.temporal_attn.qkv.weight'])
    assert torch.equal(weights['blocks.0.attn.qkv.weight'], file['model.blocks.0.attn.qkv.weight'])
    del file['model.blocks.1.temporal_attn.qkv.weight']
    with pytest.raises(CheckpointError, match=r'not in the file \(1\): blocks.1.temporal_attn.qkv.weight'):
        load_pretrained(model, file)


@pytest.mark.parametrize('frames', [16, 96])
def test_long_files_fill_models_of_their_own_length(frames):
    """Official class functions shrink the time table to 8 frames (facebookresearch/TimeSformer issue 44)."""
    source = build(num_frames=frames)
    model = VideoTimeSformer(**{**SMALL, 'num_frames': frames})
    assert not load_pretrained(model, official(source)).keys('resized')
    assert torch.equal(model.time_embed, source.time_embed)


@pytest.mark.parametrize('mode', ['bicubic', 'nearest'])
def test_loading_resizes_tables_as_the_model_does(mode):
    """A file of another clip size gives what its own model gives for such clips."""
    source = build(pos_interpolation=mode).eval()
    model = VideoTimeSformer(**{**SMALL, 'num_frames': 6, 'img_size': (24, 32)}, pos_interpolation=mode).eval()
    report = load_pretrained(model, official(source), pos_interpolation=mode)
    assert sorted(report.keys('resized')) == ['pos_embed', 'time_embed']
    clip = torch.randn(1, 3, 6, 24, 32)
    torch.testing.assert_close(model(clip), source(clip))


def test_the_official_loader_rule_has_a_name():
    """'flat_nearest' mixes rows and columns: 7.1 % of the cells of 14 x 14 -> 28 x 28 are where they belong."""
    file = image_vit(grid=14)
    table = torch.arange(1.0, 197).reshape(1, 196, 1).expand(-1, -1, 16)
    file['pos_embed'] = torch.cat([torch.zeros(1, 1, 16), table], 1)
    model = VideoTimeSformer(**{**SMALL, 'img_size': 4 * 28}, attention='space')
    load_pretrained(model, file, pos_interpolation='flat_nearest')
    found = model.pos_embed[0, 1:, 0].view(28, 28)
    assert model.pos_embed[0, 0, 0] == 0
    assert found[0].tolist() == [float(1 + column // 4) for column in range(28)]
    assert found[1].tolist() == [float(8 + column // 4) for column in range(28)]
    true = F.interpolate(table[..., 0].reshape(1, 1, 14, 14), size=(28, 28), mode='nearest')[0, 0]
    assert round((found == true).float().mean().item(), 3) == 0.071
    load_pretrained(model, file, pos_interpolation='nearest')
    assert torch.equal(model.pos_embed[0, 1:, 0].view(28, 28), true)


@pytest.mark.parametrize('size, notes', [((8, 32), 1), ((8, 24), 0), (16, 0)], ids=str)
def test_a_square_table_of_as_many_patches_as_another_grid_is_named(size, notes):
    """Where the counts agree, nothing is resized; where they do not, the table is resized to the grid."""
    for file in (official(build()), image_vit()):
        report = load_pretrained(VideoTimeSformer(**{**SMALL, 'img_size': size}), file)
        assert len(report.notes) == notes and all('2 x 8' in note and 'img_size' in note for note in report.notes)
    own = VideoTimeSformer(**{**SMALL, 'img_size': size})
    assert not load_pretrained(own, own.state_dict()).notes


def test_space_models_have_no_time_table_and_joint_ones_no_temporal_attention():
    for attention in ('space', 'joint'):
        report = load_pretrained(VideoTimeSformer(**SMALL, attention=attention), official(build(attention=attention)))
        assert report.coverage == 1
    with pytest.raises(CheckpointError, match='in the file, not in the model.*time_embed'):
        load_pretrained(VideoTimeSformer(**SMALL, attention='space'), official(build(attention='joint')))
    with pytest.raises(CheckpointError, match='(?s)in the model, not in the file.*like the file .*attention'):
        load_pretrained(VideoTimeSformer(**SMALL), official(build(attention='joint')))


def test_a_recognizer_file_serves_a_bare_backbone():
    file = {f'backbone.{key}': value for key, value in build().state_dict().items()}
    file |= {'cls_head.fc_cls.weight': torch.randn(5, 16), 'cls_head.fc_cls.bias': torch.randn(5)}
    model = VideoTimeSformer(**{**SMALL, 'num_frames': 8})
    report = load_pretrained(model, {'state_dict': file})
    assert report.coverage == 1
    assert report.keys('dropped') == ['cls_head.fc_cls.weight', 'cls_head.fc_cls.bias']
    assert torch.equal(model.blocks[1].temporal_fc.weight, file['backbone.blocks.1.temporal_fc.weight'])


@pytest.mark.parametrize('classes, to_rgb, notes', [(174, False, 1), (174, True, 0), (400, False, 0)])
def test_something_something_files_ask_for_bgr(classes, to_rgb, notes):
    model = Recognizer(VideoTimeSformer(**SMALL), classes, to_rgb=to_rgb)
    report = load_pretrained(model, official(build(), classes))
    assert len(report.notes) == notes and all('BGR' in note and 'to_rgb=True' in note for note in report.notes)


@pytest.mark.parametrize(
    'file, kwargs, message',
    [
        (dict(img_size=(8, 24)), {}, '12 patches are not a square: set img_size'),
        (dict(patch_size=8, img_size=32), {}, r'\(16, 3, 8, 8\) in the file, \(16, 3, 4, 4\) in the model'),
        (
            dict(arch=dict(embed_dims=32, depth=2, num_heads=2)),
            {},
            r'32 channels in the file, 16 in the model \(arch\)',
        ),
        (dict(arch=dict(embed_dims=16, depth=3, num_heads=2)), {}, 'in the file, not in the model.*blocks.2'),
        ({}, dict(pos_interpolation='linear'), "'flat_nearest'"),
    ],
    ids=['grid', 'patch', 'width', 'depth', 'option'],
)
def test_refused(file, kwargs, message):
    model = VideoTimeSformer(**SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    weights = {f'model.{key}': value for key, value in build(**file).state_dict().items()}
    with pytest.raises(ValueError, match='(?s)' + message):
        load_pretrained(model, weights, **kwargs)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_other_families_are_sent_away():
    with pytest.raises(CheckpointError, match='checkpoint of timesformer'):
        from vidtx_mm.backbones import VideoSwin

        load_pretrained(VideoSwin(), official(build()))
    assert detect(image_vit()).name == 'timm_vit'


def test_the_optimizer_spares_the_embeddings():
    """MMAction2's configs name '.backbone.cls_token', which no parameter is called, so all decay there."""
    model = Recognizer(VideoTimeSformer(**SMALL))
    constructor = TransformerOptimConstructor(
        dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1, weight_decay=1e-4)),
        paramwise_cfg=dict(embed_decay_mult=0.0),
    )
    groups = constructor(model).optimizer.param_groups
    decays = {id(p): group['weight_decay'] for group in groups for p in group['params']}
    for name, parameter in model.named_parameters():
        if name.split('.')[-1] in ('cls_token', 'pos_embed', 'time_embed'):
            assert decays[id(parameter)] == 0
        elif name.endswith('qkv.weight'):
            assert decays[id(parameter)] == 1e-4
