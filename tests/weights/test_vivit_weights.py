"""ViViT's checkpoints: scenic's flax files, transformers' names, and the start from image ViTs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from forms import listed
from helpers import Recognizer
from test_flax import chunked, write
from torch import nn
from vivit_forms import (
    CLASSES,
    FACTORIZED,
    ORIGINAL,
    SCENIC,
    TINY,
    flax,
    image_vit,
    mmaction_vit,
    nested,
    vivit,
    with_head,
)

from vidtx_mm.backbones import ViViT
from vidtx_mm.weights import CheckpointError, load_pretrained, open_checkpoint
from vidtx_mm.weights.sources import SOURCES, canonical, detect
from vidtx_mm.weights.sources.flax_vit import flax_args

KEYS = Path(__file__).parents[1] / 'goldens' / 'keys'
LISTS = {
    'vivit_b16x2_unfactorized_k400_scenic': ('scenic_vivit', dict()),
    'vivit_b16x2_fe_k400_scenic': ('scenic_vivit', dict(attention='factorized_encoder', temporal_depth=4)),
    'vivit_b16x2_k400_huggingface': ('huggingface_vivit', dict()),
}
ENCODER = dict(attention='factorized_encoder', temporal_depth=3)
# How scenic names each model: our arguments, and the words of its files.
MODELS = {
    'joint': (dict(), dict()),
    'joint-avg': (dict(pool='avg'), dict()),
    'encoder': (ENCODER, dict(spatial='SpatialTransformer')),
    'encoder-avg': (dict(ENCODER, pool='avg'), dict(spatial='SpatialTransformer')),
    'average': (dict(ENCODER, temporal_depth=0), dict(spatial='SpatialTransformer')),
    'self-attention': (dict(attention='factorized_self_attention', pool='avg'), dict(parts=FACTORIZED)),
    'dot-product': (dict(attention='factorized_dot_product', pool='avg'), dict()),
}


def clip(frames=8, side=16, seed=5):
    return torch.randn(2, 3, frames, side, side, generator=torch.Generator().manual_seed(seed))


def tensors(arrays):
    return {key: torch.from_numpy(value) for key, value in arrays.items()}


@pytest.mark.parametrize('name, expected', LISTS.items(), ids=LISTS)
def test_published_key_lists_are_recognized_and_fully_mapped(name, expected):
    file = {key: torch.empty(shape, device='meta') for key, shape in listed(KEYS / f'{name}.txt').items()}
    source = detect(file)
    assert source.name == expected[0]
    assert [other.name for other in SOURCES.values() if other.recognizes(file)] == [source.name]
    with torch.device('meta'):
        model = ViViT(**expected[1])
    mapped = canonical(file, source)
    wanted = {key: value.shape for key, value in model.state_dict().items()}
    assert {key: weight.tensor.shape for key, weight in mapped.backbone.items()} == wanted
    head = {'cls_head.fc_cls.weight': (400, 768), 'cls_head.fc_cls.bias': (400,)}
    assert {key: weight.tensor.shape for key, weight in mapped.head.items()} == head


@pytest.mark.parametrize('ours, theirs', MODELS.values(), ids=MODELS)
def test_scenic_files(tmp_path, ours, theirs):
    """A TrainState in msgpack, with an optimizer, chunks and half precision, gives the model that it was written of."""
    model = vivit(**ours)
    arrays = flax(with_head(model.state_dict(), 'head'), **theirs)
    tree = nested(arrays)
    tree['output_projection']['kernel'] = chunked(arrays['output_projection/kernel'], 7)
    state = {'optimizer': {'target': tree, 'state': {'step': 3}}, 'global_step': 3, 'rng': np.zeros(2, np.uint32)}
    path = write(tmp_path / 'checkpoint', state)
    loaded = Recognizer(ViViT(**{**TINY, **ours}).eval(), norm=127.5)
    report = load_pretrained(loaded, path)
    assert report.source == 'scenic ViViT' and report.coverage == 1 and not report.keys('left at init')
    assert torch.equal(loaded.backbone(clip()), model(clip()))
    assert torch.equal(loaded.cls_head.fc_cls.weight, with_head({}, 'head')['head.weight'])


@pytest.mark.parametrize('ours, theirs', MODELS.values(), ids=MODELS)
def test_small_scenic_files_have_the_published_keys(ours, theirs):
    """What the other tests write is the published form, not what the map happens to accept."""
    lists = {'SpatialTransformer': 'vivit_b16x2_fe_k400_scenic', None: 'vivit_b16x2_unfactorized_k400_scenic'}
    published = listed(KEYS / f'{lists[theirs.get("spatial")]}.txt')
    arch = dict(embed_dims=12, depth=12, num_heads=12)
    made = flax(with_head(vivit(**ours | dict(arch=arch)).state_dict(), 'head'), **theirs, heads=12)
    same = {key for key in made if not any(word in key for word in ('encoderblock_', 'Temporal'))}
    assert same <= set(published) and {key: made[key].ndim for key in same} == {
        key: len(published[key]) for key in same
    }
    if theirs.get('parts') is None:
        blocks = {key for key in published if 'encoderblock_' in key and 'Temporal' not in key}
        assert {key for key in made if 'encoderblock_' in key and 'Temporal' not in key} == blocks
        assert all(made[key].ndim == len(published[key]) for key in blocks)


def test_a_file_implies_depth_heads_and_attention():
    for (ours, theirs), attention in zip(
        MODELS.values(),
        ('joint', None, *['factorized_encoder'] * 3, 'factorized_self_attention', None),
        strict=True,
    ):
        args = flax_args(tensors(flax(vivit(**ours).state_dict(), **theirs)))
        assert (args['num_heads'], args['depth']) == (2, 2)
        assert args.get('attention') == attention
        if attention == 'factorized_encoder':
            assert args['temporal_depth'] == ours['temporal_depth']


def file_of(name):
    ours, theirs = MODELS[name]
    return tensors(flax(with_head(vivit(**ours).state_dict(), 'head'), **theirs))


SELF = dict(attention='factorized_self_attention', pool='avg')
REFUSED = {
    'model 2 into 1': ('encoder', dict(), r"attention='factorized_encoder', temporal_depth=3, but this ViViT has att"),
    'model 1 into 2': ('joint', ENCODER, "with attention='joint', but this ViViT has attention='factorized_en"),
    'model 1 into 4': (
        'joint',
        dict(attention='factorized_dot_product', pool='avg'),
        "attention='joint', but",
    ),
    'model 4 into 3': (
        'dot-product',
        SELF,
        '.12.: blocks.0.temporal_norm1.weight.*attention over time are attention=.factorized_self_att',
    ),
    'model 3 into 4': ('self-attention', MODELS['dot-product'][0], "with attention='factorized_self_attention', but"),
    'temporal depth': (
        'encoder',
        dict(ENCODER, temporal_depth=4),
        'temporal_depth=3, but this ViViT has temporal_depth=4',
    ),
    'heads': ('joint', dict(arch=dict(embed_dims=16, depth=2, num_heads=4)), 'num_heads=2, but .* num_heads=4'),
    'cls into mean': (
        'joint',
        dict(pool='avg'),
        r"pos_embed: either the file or the model has no class token: set.*A model without class token has pool='avg'",
    ),
    'mean into cls': ('joint-avg', dict(), r'in the model, not in the file .1.: cls_token'),
    'width': ('joint', dict(arch=dict(embed_dims=32, depth=2, num_heads=2)), r'16 channels in the file, 32 in the'),
    'grid': ('joint', dict(num_frames=2), "file's grid does not follow from 64 positions"),
    'tubelet': ('joint', dict(tubelet_size=(4, 4, 4)), '2 frames in the file, 4 in the model'),
}


@pytest.mark.parametrize('name, kwargs, message', REFUSED.values(), ids=REFUSED)
def test_other_models_are_refused_and_nothing_is_loaded(name, kwargs, message):
    model = Recognizer(ViViT(**{**TINY, **kwargs}), norm=127.5)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f'(?s)a dict in memory.*{message}'):
        load_pretrained(model, file_of(name))
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_own_files_of_another_model_are_refused():
    weights = vivit(**ENCODER).state_dict()
    with pytest.raises(
        CheckpointError, match="(?s).38.: temporal_cls_token.*A temporal encoder is attention='factorized_encoder'"
    ):
        load_pretrained(vivit(), weights, source='own')
    with pytest.raises(CheckpointError, match='(?s)in the model, not in the file .40.: temporal_cls_token'):
        load_pretrained(vivit(**ENCODER), vivit().state_dict(), source='own')


def test_encoders_of_different_heads_are_refused():
    file = file_of('encoder')
    for key in [key for key in file if key.startswith('Temporal') and '/query/' in key]:
        file[key] = file[key].reshape(*file[key].shape[:-2], 4, 4)
    with pytest.raises(CheckpointError, match=r'its encoders have \[2, 4\] heads'):
        load_pretrained(vivit(**ENCODER), file)


def test_truncated_files(tmp_path):
    path = write(tmp_path / 'checkpoint', {'optimizer': {'target': nested(flax(vivit().state_dict()))}})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match='checkpoint is a damaged flax msgpack file.*download or copy it again'):
        load_pretrained(vivit(), path)


def test_a_missing_projection_is_named():
    file = file_of('joint')
    del file['Transformer/encoderblock_1/MultiHeadDotProductAttention_0/key/kernel']
    with pytest.raises(
        CheckpointError, match=r'blocks.1.attn.qkv.weight is joined from 3 tensors, .*query/kernel \+ .*value'
    ):
        load_pretrained(vivit(), file)


def test_wrong_preprocessing_is_noted():
    assert not load_pretrained(Recognizer(vivit(), norm=127.5), file_of('joint')).notes
    notes = load_pretrained(Recognizer(vivit(), norm=114.75), file_of('joint')).notes
    assert len(notes) == 1 and 'pixels / 127.5 - 1, data_preprocessor has mean=[114.75, 114.75, 114.75]' in notes[0]


@pytest.mark.parametrize(
    'name, note',
    [
        ('joint-avg', "'joint' without class token or 'factorized_dot_product', and the model has 'joi"),
        ('dot-product', "the model has 'factorized_dot_product'"),
        ('self-attention', "order, the model has 'space_first': scenic's default is 'time_first'"),
        ('joint', None),
        ('encoder', None),
    ],
)
def test_attention_that_the_weights_do_not_show(name, note):
    notes = load_pretrained(vivit(**MODELS[name][0]), file_of(name)).notes
    assert [note in found for found in notes] == [True] if note else notes == []


IMAGES = {
    'timm': lambda weights: {**with_head(weights, 'head'), 'pre_logits.fc.weight': torch.ones(2, 2)},
    'mmaction': mmaction_vit,
    'original': lambda weights: (
        tensors(flax(with_head(weights, 'head'), ORIGINAL, head='head')) | {'pre_logits/kernel': torch.ones(2, 2)}
    ),
    'scenic': lambda weights: tensors(flax(with_head(weights, 'head'), SCENIC)),
}
VIDEOS = {
    'joint': dict(),
    'joint-avg': dict(pool='avg'),
    'encoder': ENCODER,
    'average': dict(ENCODER, temporal_depth=0),
    'self-attention': dict(attention='factorized_self_attention', pool='avg'),
    'dot-product': dict(attention='factorized_dot_product', pool='avg'),
    'frames': dict(tokens='uniform'),
}


@pytest.mark.parametrize('kwargs', VIDEOS.values(), ids=VIDEOS)
@pytest.mark.parametrize('form', IMAGES.values(), ids=IMAGES)
def test_image_models(form, kwargs):
    """What every model takes from an image ViT, in all forms of it, and what it leaves at its initialization."""
    weights = image_vit().state_dict()
    model = ViViT(**{**TINY, **kwargs})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = load_pretrained(model, form(weights))
    found = model.state_dict()
    for key, value in found.items():
        if key == 'patch_embed.proj.weight' and model.tokens == 'tubelet':
            assert torch.equal(value[:, :, 1], weights[key]) and not value[:, :, 0].any()
        elif key == 'pos_embed':
            grid = weights[key][:, 1:].repeat(1, model.table_grid[0], 1)
            expected = torch.cat([weights[key][:, :1], grid], 1) if model.prefix else grid
            assert torch.equal(value, expected)
        elif key in weights:
            assert torch.equal(value, weights[key])
        elif '.temporal_attn.qkv' in key or '.temporal_norm1' in key:
            assert torch.equal(value, weights[key.replace('temporal_', '')])
        else:
            assert key.startswith('temporal_') or '.temporal_attn.proj.' in key
            assert torch.equal(value, before[key]) and key in report.keys('left at init')


@pytest.mark.parametrize('rule', ['center', 'mean', 'random'])
def test_tubelet_kernels(rule):
    weights = image_vit().state_dict()
    image, model = weights['patch_embed.proj.weight'], ViViT(**{**TINY, 'tubelet_size': (4, 4, 4)})
    drawn = model.patch_embed.proj.weight.detach().clone()
    report = load_pretrained(model, weights, inflate=rule)
    kernel = model.patch_embed.proj.weight
    if rule == 'random':
        assert torch.equal(kernel, drawn) and 'patch_embed.proj.weight' in report.keys('left at init')
    else:
        torch.testing.assert_close(kernel.sum(2), image)
        assert kernel.flatten(3).any(-1).sum(2).unique().tolist() == ([1] if rule == 'center' else [4])
        assert rule == 'mean' or torch.equal(kernel[:, :, 2], image)
    assert torch.equal(model.patch_embed.proj.bias, weights['patch_embed.proj.bias'])


def test_an_image_model_without_class_token():
    """The model keeps its own class token; its position, which the file lacks too, is zero."""
    weights = image_vit(pool='avg').state_dict()
    model = vivit()
    cls = model.cls_token.clone()
    report = load_pretrained(model, tensors(flax(weights)))
    assert torch.equal(model.cls_token, cls) and not model.pos_embed[:, 0].any()
    assert torch.equal(model.pos_embed[:, 1:], weights['pos_embed'].repeat(1, 4, 1))
    assert report.keys('left at init') == ['cls_token']


@pytest.mark.parametrize('size, notes', [((4, 64), 1), ((4, 32), 0), (16, 0)], ids=str)
def test_a_square_table_of_as_many_patches_as_another_grid_is_named(size, notes):
    """Where the counts agree, nothing is resized; where they do not, the table is resized to the grid."""
    for file in (flax(image_vit().state_dict()), flax(vivit(**ENCODER).state_dict(), **MODELS['encoder'][1])):
        report = load_pretrained(vivit(**ENCODER, img_size=size), tensors(file))
        assert sum('1 x 16' in note and 'img_size' in note for note in report.notes) == notes
    own = vivit(**ENCODER, img_size=size)
    assert not load_pretrained(own, own.state_dict()).notes


def test_a_square_table_of_a_clip_is_named_too():
    report = load_pretrained(vivit(img_size=(4, 64)), tensors(flax(vivit().state_dict())))
    assert ['1 x 16' in note for note in report.notes] == [True]


@pytest.mark.parametrize('inflate', ['center', 'mean'])
def test_the_average_baseline_starts_as_the_image_model(inflate):
    image, model = image_vit(), vivit(**ENCODER | dict(temporal_depth=0))
    load_pretrained(model, image.state_dict(), inflate=inflate)
    frame = clip(1)
    torch.testing.assert_close(model(frame.expand(-1, -1, 8, -1, -1)), image(frame))


@pytest.mark.parametrize('order', ['space_first', 'time_first'])
def test_factorized_self_attention_starts_as_the_image_model(order):
    """On any clip: the image model's features of the frames that the tubelets take, averaged (section 3.4)."""
    image = image_vit(pool='avg')
    model = ViViT(**{**TINY, **SELF, 'order': order}).eval()
    load_pretrained(model, tensors(flax(image.state_dict())))
    video = clip()
    frames = torch.stack([image(video[:, :, t : t + 1]) for t in (1, 3, 5, 7)])
    torch.testing.assert_close(model(video), frames.mean(0))


@pytest.mark.parametrize('kwargs', VIDEOS.values(), ids=VIDEOS)
def test_every_parameter_learns_from_the_start(kwargs):
    """Three steps after an image model, a classifier that starts at zero included."""
    torch.manual_seed(0)
    model = nn.Sequential(ViViT(**{**TINY, **kwargs}), nn.Linear(16, CLASSES)).double()
    load_pretrained(model[0], image_vit().state_dict())
    nn.init.zeros_(model[1].weight)
    start = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        loss = nn.functional.cross_entropy(model(clip().double()), torch.tensor([1, 3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    still = {name for name, value in model.named_parameters() if torch.equal(value, start[name])}
    assert not still


def test_tables_of_other_clips_are_resized():
    """In space and in time, each by itself, the class token's row apart."""
    file = file_of('joint')
    old = vivit().pos_embed
    for num_frames, img_size in ((8, 24), (12, 16)):
        model = ViViT(**{**TINY, 'num_frames': num_frames, 'img_size': img_size})
        report = load_pretrained(model, file)
        assert torch.equal(model.pos_embed[:, :1], old[:, :1]) and report.keys('resized') == ['pos_embed']
        volume = old[0, 1:].T.reshape(16, 4, 16)
        if img_size == 16:
            expected = nn.functional.interpolate(volume.transpose(1, 2), size=6, mode='linear').permute(0, 2, 1)
        else:
            frames = volume.unflatten(2, (4, 4)).transpose(0, 1)
            expected = nn.functional.interpolate(frames, size=(6, 6), mode='bicubic').transpose(0, 1).flatten(2)
        torch.testing.assert_close(model.pos_embed[0, 1:], expected.flatten(1).T)


def test_tables_of_the_factorized_encoder_are_resized():
    file, old = file_of('encoder'), vivit(**ENCODER)
    model = ViViT(**{**TINY, **ENCODER, 'num_frames': 12, 'img_size': 24})
    report = load_pretrained(model, file)
    assert set(report.keys('resized')) == {'pos_embed', 'temporal_pos_embed'}
    assert torch.equal(model.pos_embed[:, :1], old.pos_embed[:, :1])
    grid = old.pos_embed[:, 1:].mT.unflatten(2, (4, 4))
    expected = nn.functional.interpolate(grid, size=(6, 6), mode='bicubic').flatten(2).mT
    torch.testing.assert_close(model.pos_embed[:, 1:], expected)
    time = nn.functional.interpolate(old.temporal_pos_embed[:, 1:].mT, size=6, mode='linear').mT
    torch.testing.assert_close(model.temporal_pos_embed[:, 1:], time)


def test_a_temporal_encoder_that_stays_fresh():
    """The spatial encoder of a file whose temporal one has another depth."""
    model = ViViT(**{**TINY, **ENCODER, 'temporal_depth': 1})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    report = load_pretrained(model, file_of('encoder'), keep_init='temporal_.+')
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) == key.startswith('temporal_')
    assert set(report.keys('left at init')) == {key for key in before if key.startswith('temporal_')}
    with pytest.raises(CheckpointError, match="keep_init='time_.+' is not the full name of a parameter"):
        load_pretrained(model, file_of('encoder'), keep_init='time_.+')


def test_npz_files_of_image_models(tmp_path):
    arrays = flax(with_head(image_vit().state_dict(), 'head'), ORIGINAL, head='head')
    np.savez(tmp_path / 'ViT-B_16.npz', **{f'opt/target/{key}': value for key, value in arrays.items()})
    opened = open_checkpoint(tmp_path / 'ViT-B_16.npz')
    report = load_pretrained(vivit(), tmp_path / 'ViT-B_16.npz')
    assert opened.container == 'opt/target' and report.source == 'JAX image ViT'
