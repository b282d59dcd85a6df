"""Key maps and recognition of the published forms."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from forms import TINY, listed, microsoft, mmaction, official, torchvision, video_swin

from vidtx_mm.backbones import VideoSwin
from vidtx_mm.weights import CheckpointError
from vidtx_mm.weights.sources import FAMILIES, SOURCES, Rename, Source, canonical, detect
from vidtx_mm.weights.sources.unsupported import UNSUPPORTED

KEYS = Path(__file__).parents[1] / 'goldens' / 'keys'
LISTS = {
    'microsoft_swin': 'swin2d_tiny_microsoft_model',
    'video_swin': 'videoswin_tiny_k400_official',
    'mmaction_swin': 'videoswin_tiny_k400_mmaction2',
    'torchvision_swin3d': 'videoswin_tiny_k400_torchvision',
}


def meta(shapes):
    return {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}


@pytest.mark.parametrize('name, keys', LISTS.items())
def test_published_key_lists_are_recognized_and_fully_mapped(name, keys):
    file = meta(listed(KEYS / f'{keys}.txt'))
    source = detect(file)
    assert source.name == name
    mapped = canonical(file, source)
    with torch.device('meta'):
        backbone = VideoSwin()
    assert {key for key in mapped.backbone if 'index' not in key} == backbone.state_dict().keys()
    assert mapped.head.keys() == {'cls_head.fc_cls.weight', 'cls_head.fc_cls.bias'}


@pytest.mark.parametrize('name', LISTS)
def test_small_checkpoints_of_the_tests_have_the_published_keys(name):
    """The forms that the other tests use are the published ones, not what the maps happen to accept."""
    kwargs = dict(TINY, arch=dict(embed_dims=8, depths=(2, 2, 6, 2), num_heads=(1, 1, 1, 1)))
    backbone = VideoSwin(**kwargs)
    weights = official(backbone)
    made = {
        'microsoft_swin': microsoft(backbone),
        'video_swin': weights,
        'mmaction_swin': mmaction(weights),
        'torchvision_swin3d': torchvision(weights),
    }[name]
    published = listed(KEYS / f'{LISTS[name]}.txt')
    masks = {key for key in {*made, *published} if key.endswith('attn_mask')}
    assert set(made) - masks == set(published) - masks
    assert {key: made[key].ndim for key in made if key not in masks} == {
        key: len(published[key]) for key in made if key not in masks
    }


def test_sources_are_told_apart():
    """No file fits two sources, and none is taken for a form that cannot be loaded."""
    for name, keys in LISTS.items():
        file = meta(listed(KEYS / f'{keys}.txt'))
        assert [source.name for source in SOURCES.values() if source.recognizes(file)] == [name]
        assert not [other.title for other in UNSUPPORTED if other.recognizes(file)]


UNSUPPORTED_KEYS = {
    'mmpretrain.*another channel order': {
        'backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table': (169, 3),
        'head.fc.weight': (1000, 768),
    },
    'transformers 2-D Swin': {
        'swin.encoder.layers.0.blocks.0.attention.self.relative_position_bias_table': (169, 3),
        'classifier.weight': (1000, 768),
    },
    'timm >= 0.9': {
        'patch_embed.proj.weight': (96, 3, 4, 4),
        'layers.0.blocks.0.attn.relative_position_bias_table': (169, 3),
        'layers.1.downsample.reduction.weight': (192, 384),
        'head.fc.weight': (1000, 768),
    },
    'torchvision 2-D Swin': {
        'features.0.0.weight': (96, 3, 4, 4),
        'features.1.0.attn.relative_position_bias_table': (169, 3),
    },
    'Swin V2.*cosine attention': {
        'patch_embed.proj.weight': (96, 3, 4, 4),
        'layers.0.blocks.0.attn.logit_scale': (3, 1, 1),
        'layers.0.downsample.reduction.weight': (192, 384),
    },
    'a plain image ViT.*no windows': {'pos_embed': (1, 197, 768), 'blocks.0.attn.qkv.weight': (2304, 768)},
}


@pytest.mark.parametrize('message, shapes', UNSUPPORTED_KEYS.items(), ids=UNSUPPORTED_KEYS)
def test_unsupported_formats_are_recognized_and_refused_with_the_reason(message, shapes):
    with pytest.raises(CheckpointError, match=f'looks like {message}.*use '):
        detect(meta(shapes))


def test_unknown_files_are_refused_with_their_first_keys():
    with pytest.raises(CheckpointError, match=r'its keys \(conv1.weight, fc.weight\) match no known source'):
        detect(meta({'conv1.weight': (64, 3, 7, 7), 'fc.weight': (10, 512)}))


def test_files_that_fit_several_sources_ask_for_the_name(monkeypatch):
    twin = replace(SOURCES['video_swin'], name='twin')
    monkeypatch.setitem(SOURCES, 'twin', twin)
    with pytest.raises(CheckpointError, match=r'several sources: set source= \(video_swin, twin\)'):
        detect(official(video_swin()))


def source(*rows, head=()):
    return Source(name='toy', title='Toy files', families=('toy',), ndim=3, signature={}, backbone=rows, head=head)


def test_key_maps_rename_transform_join_and_drop():
    toy = source(
        Rename(r'junk\..+', reason='not wanted'),
        *(Rename(rf'(\d)/{name}', r'\1.qkv', part=(i, 3)) for i, name in enumerate('qkv')),
        Rename(r'(\d)/kernel', r'\1.weight', transform=lambda x: x.t()),
    )
    tensors = {'0/v': torch.full((1,), 3.0), '0/q': torch.full((1,), 1.0), '0/k': torch.full((1,), 2.0)}
    tensors |= {'0/kernel': torch.arange(6.0).reshape(2, 3), 'junk.a': torch.ones(1)}
    result = canonical(tensors, toy)
    assert result.backbone['0.qkv'].tensor.tolist() == [1, 2, 3]
    assert torch.equal(result.backbone['0.weight'].tensor, tensors['0/kernel'].t())
    assert result.dropped == {'junk.a': 'not wanted'}
    origins = {key: weight.origin for key, weight in result.backbone.items()}
    assert origins == {'0.qkv': '0/q + 0/k + 0/v', '0.weight': '0/kernel'} and not result.head


def test_key_maps_are_anchored_and_complete():
    toy = source(Rename(r'a', 'a'))
    with pytest.raises(CheckpointError, match='unknown keys for Toy files: xa, ab'):
        canonical({'a': torch.ones(1), 'xa': torch.ones(1), 'ab': torch.ones(1)}, toy)


def test_a_joined_tensor_needs_all_its_pieces():
    toy = source(*(Rename(name, 'qkv', part=(i, 3)) for i, name in enumerate('qkv')))
    with pytest.raises(CheckpointError, match=r'qkv is joined from 3 tensors, but the file has only q \+ v'):
        canonical({'q': torch.ones(1), 'v': torch.ones(1)}, toy)


def test_two_keys_of_one_name_are_refused():
    toy = source(Rename(r'(?:backbone\.)?(a)', r'\1'))
    with pytest.raises(CheckpointError, match='both a: split the file, it has two models'):
        canonical({'a': torch.ones(1), 'backbone.a': torch.ones(1)}, toy)


def test_every_source_belongs_to_a_family_and_has_a_reasoned_map():
    for candidate in SOURCES.values():
        assert set(candidate.families) <= set(FAMILIES) and candidate.families
        assert all(row.target or row.reason for row in candidate.backbone + candidate.head)
    assert all(other.reason for other in UNSUPPORTED)
