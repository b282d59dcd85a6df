"""TimeSformer beside the official numbers and the implementations of MMAction2 and transformers."""

import protocol
import pytest
import torch
from helpers import randomized
from mmaction.models.backbones import TimeSformer
from mmaction.registry import MODELS
from mmengine.registry import DefaultScope
from transformers import TimesformerConfig, TimesformerForVideoClassification

from vidtx_mm.backbones import VideoTimeSformer
from vidtx_mm.weights import adapt, load_pretrained, open_checkpoint

SCHEMES = {'divided_space_time': 'divided', 'space_only': 'space', 'joint_space_time': 'joint'}


def recognizer(classes: int, dim: int, norm: float = 127.5, **backbone) -> torch.nn.Module:
    head = dict(type='vidtx_mm.VideoClsHead', num_classes=classes, in_channels=dim, pool='none')
    backbone = dict(type='vidtx_mm.VideoTimeSformer', **backbone)
    preprocessor = dict(type='mmaction.ActionDataPreprocessor', mean=[norm] * 3, std=[norm] * 3, format_shape='NCTHW')
    model = dict(type='Recognizer3D', backbone=backbone, cls_head=head, data_preprocessor=preprocessor)
    return MODELS.build(model).eval()


def official_order(tokens: torch.Tensor, grid: tuple[int, int, int]) -> torch.Tensor:
    """Our tokens (frame by frame) in the order of the official code (place by place)."""
    patches = tokens[:, 1:].unflatten(1, grid).movedim(1, 3).flatten(1, 3)
    return torch.cat([tokens[:, :1], patches], 1)


# Our name of what a case records: the tokens before the first block, after two of the blocks, after the pooling norm.
STATES = {'embedded_tokens': 0, 'embeddings': 0, 'block0': 1, 'hidden_after_layer0': 1, 'block11': -1}


@pytest.mark.parametrize(
    'name',
    [
        'timesformer_divst_8f_in8x224',
        'timesformer_divst_8f_in12x224',
        'timesformer_spaceonly_8f_in8x224',
        'hf_timesformer_base_in8x224',
    ],
)
def test_official_numbers(name):
    """All tensors that the case records, in float64, with the weights through ``source='auto'``.

    Full-size models are slow in float64, but the cases exist for no other.
    """
    case = protocol.case(name)
    weights = {key: torch.from_numpy(protocol.weight(key, shape)) for key, shape, *_ in case['state_dict']}
    attention = SCHEMES[case['config']['attention_type']]
    model = recognizer(400, 768, attention=attention, pos_interpolation='nearest')
    container = weights if name.startswith('hf') else {'epoch': 15, 'model_state': weights, 'cfg': 'a: 1'}
    assert load_pretrained(model, container).coverage == 1
    model.double()
    clip = torch.from_numpy(protocol.input_array(case['input']['name'], case['input']['shape'])).double()
    if case['input']['layout'] == 'B,T,C,H,W':
        clip = clip.transpose(1, 2)

    states, grids = [], []

    def embedded(block: torch.nn.Module, args: tuple) -> None:
        states.append(args[0])
        grids.append(args[1])

    def ran(block: torch.nn.Module, args: tuple, output: torch.Tensor) -> None:
        states.append(output)

    model.backbone.blocks[0].register_forward_pre_hook(embedded)
    for block in model.backbone.blocks:
        block.register_forward_hook(ran)
    with torch.no_grad():
        features = model.backbone(clip)
        logits = model.cls_head(features)
        model.backbone.blocks[-1](states[-2], grids[0])  # called by the model, it gives the class token alone
    for key, expected in case['outputs'].items():
        if key in STATES:
            found = states[STATES[key]]
            found = found if attention == 'space' else official_order(found, grids[0])
        else:
            found = {'features': features, 'logits': logits}[key]
        assert protocol.compare(expected, found) < 1e-6, key


SIZES = dict(num_frames=3, img_size=32, patch_size=8)
ARCH = dict(embed_dims=24, depth=3, num_heads=3)


@pytest.mark.parametrize('attention_type', SCHEMES)
def test_mmaction(attention_type):
    """MMAction2's class and ours on its own state dict, as a backbone and as a recognizer."""
    with DefaultScope.overwrite_default_scope('mmaction'):
        theirs = TimeSformer(
            **SIZES, embed_dims=24, num_heads=3, num_transformer_layers=3, attention_type=attention_type
        )
    theirs = randomized(theirs)
    clip = torch.randn(2, 3, 3, 32, 32)
    expected = theirs(clip)
    bare = VideoTimeSformer(arch=ARCH, attention=SCHEMES[attention_type], **SIZES).eval()
    report = load_pretrained(bare, theirs.state_dict())
    assert report.coverage == 1 and not report.keys('left at init')
    torch.testing.assert_close(bare(clip), expected, rtol=1e-5, atol=1e-5)

    file = {f'backbone.{key}': value for key, value in theirs.state_dict().items()}
    file |= {'cls_head.fc_cls.weight': torch.randn(5, 24), 'cls_head.fc_cls.bias': torch.randn(5)}
    model = recognizer(5, 24, arch=ARCH, attention=SCHEMES[attention_type], **SIZES)
    report = load_pretrained(model, {'state_dict': file})
    assert report.coverage == 1 and not report.notes
    torch.testing.assert_close(model.backbone(clip), expected, rtol=1e-5, atol=1e-5)

    official_norm = recognizer(5, 24, norm=114.75, arch=ARCH, attention=SCHEMES[attention_type], **SIZES)
    (note,) = load_pretrained(official_norm, {'state_dict': file}).notes
    assert 'has mean=[114.75' in note and 'set both to [127.5] * 3' in note
    with torch.device('meta'):  # its values are unknown
        unknown = recognizer(5, 24, norm=114.75, arch=ARCH, attention=SCHEMES[attention_type], **SIZES)
    assert not adapt(open_checkpoint({'state_dict': file}), unknown)[1].notes


@pytest.mark.parametrize('attention_type', ['divided_space_time', 'joint_space_time'])
@pytest.mark.parametrize('size', [(3, 32), (5, 48)], ids=['same', 'resized'])
@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin'])
def test_transformers(attention_type, size, name, tmp_path):
    """transformers' class and ours on its own files; of its resizing, the rule is ours called 'nearest'."""
    config = TimesformerConfig(
        image_size=32,
        patch_size=8,
        num_frames=3,
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=96,
        num_labels=5,
        attention_type=attention_type,
    )
    theirs = randomized(TimesformerForVideoClassification(config))
    model = recognizer(5, 24, arch=ARCH, attention=SCHEMES[attention_type], pos_interpolation='nearest', **SIZES)
    if name.endswith('.bin'):  # which transformers no longer writes
        torch.save(theirs.state_dict(), tmp_path / name)
    else:
        theirs.save_pretrained(tmp_path)
    assert load_pretrained(model, tmp_path / name).coverage == 1
    frames, side = size
    theirs.config.num_frames, theirs.config.image_size = frames, side  # its layers take T and W from there
    clip = torch.randn(2, 3, frames, side, side)
    expected = theirs(clip.transpose(1, 2)).logits
    torch.testing.assert_close(model.cls_head(model.backbone(clip)), expected, rtol=1e-5, atol=1e-5)
