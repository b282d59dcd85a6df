"""Models by name: the official numbers of all families, features, class names, and errors that name the remedy."""

import pickle
from pathlib import Path
from typing import Any

import protocol
import pytest
import torch

import vidtx_mm
from vidtx_mm.apis.zoo import published
from vidtx_mm.weights import CheckpointError
from vidtx_mm.weights.labels import PERMUTATIONS

DEMO = ('swin3d_shapes', 'uniformer_shapes', 'timesformer_shapes', 'vivit_shapes')


def drawn(case: dict) -> dict[str, torch.Tensor]:
    weights = {
        key: torch.from_numpy(array) for key, array in protocol.fill({k: s for k, s, *_ in case['state_dict']}).items()
    }
    buffers = {
        key: torch.zeros(shape, dtype=torch.int64) for key, shape, *_ in case['state_dict'] if key not in weights
    }
    return weights | buffers


@pytest.mark.parametrize(
    ('case', 'name', 'overrides'),
    [
        ('swin_t_k400_in8x96x80_quirk', 'swin3d_t_k400', dict(relative_index='upstream')),
        ('uniformer_s_k400_split_in8x128', 'uniformer_s_k400', dict(attention='split')),
        ('timesformer_divst_8f_in8x224', 'timesformer_base_k400', {}),
        ('vivit_b16x2_model1_spacetime_in8x224', 'vivit_b_k400', dict(num_frames=8)),
    ],
)
def test_official_numbers(case: str, name: str, overrides: dict[str, Any]) -> None:
    """In single precision, which is fast; tests/parity holds the same cases to 1e-6 in double."""
    golden = protocol.case(case)
    model = vidtx_mm.create_model(name, checkpoint=drawn(golden), **overrides)
    clip = torch.from_numpy(protocol.input_array(golden['input']['name'], golden['input']['shape']))
    if golden['input']['layout'] == 'B,T,H,W,C':
        clip = clip.movedim(-1, 1)
    with torch.no_grad():
        logits = model(clip)
    if name.startswith('uniformer'):
        logits = logits[:, list(PERMUTATIONS['uniformer_k400'])]
    assert protocol.compare(golden['outputs']['logits'], logits) < 1e-4


@pytest.mark.parametrize('name', DEMO)
def test_a_model_is_plain(name: str) -> None:
    """It is in evaluation mode, pickles, exports, and takes what its ``preprocess`` says."""
    model = vidtx_mm.create_model(name)
    rule = model.preprocess
    clip = rule(torch.rand(2, 3, rule.clip_len, *(rule.size or (32, 32))) * 255)
    with torch.no_grad():
        logits = model(clip)
        assert logits.shape == (2, 8) and not model.training
        assert torch.equal(pickle.loads(pickle.dumps(model))(clip), logits)
        exported = torch.export.export(model, (clip,)).module()
        torch.testing.assert_close(exported(clip), logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize('name', DEMO)
def test_features_are_maps_of_the_same_weights(name: str) -> None:
    torch.manual_seed(0)
    whole = vidtx_mm.create_model(name)
    model = vidtx_mm.create_model(name, checkpoint=whole.state_dict(), features_only=True)
    wanted = whole.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in model.state_dict().items())
    clip = torch.rand(1, 3, model.preprocess.clip_len, 32, 32)
    features = model(clip)
    (channels,), (strides,) = model.out_channels, model.out_strides
    sides = tuple(-(-side // stride) for side, stride in zip(clip.shape[2:], strides, strict=True))
    assert features.shape == (1, channels, *sides)


def test_backbone_arguments_and_other_classes() -> None:
    model = vidtx_mm.create_model('swin3d_shapes', num_classes=3, out_indices=(0, 1), features_only=True)
    assert model.out_channels == (48, 96)
    assert [tuple(map_.shape[1:]) for map_ in model(torch.rand(1, 3, 8, 32, 32))] == [(48, 4, 8, 8), (96, 4, 4, 4)]
    assert vidtx_mm.create_model('swin3d_shapes', num_classes=3).cls_head.fc_cls.out_features == 3


def test_preprocess_is_that_of_the_config() -> None:
    with torch.device('meta'):
        model = vidtx_mm.create_model('uniformer_s_ssv2')
    rule = model.preprocess
    assert (rule.channel_order, rule.size) == ('bgr', (224, 224))
    pixels = torch.tensor([10.0, 20.0, 30.0]).view(1, 3, 1, 1, 1)
    expected = (torch.tensor([30.0, 20.0, 10.0]) - torch.tensor(rule.mean)) / torch.tensor(rule.std)
    torch.testing.assert_close(rule(pixels).flatten(), expected)


def test_class_names_travel_in_the_checkpoint() -> None:
    state = vidtx_mm.create_model('swin3d_shapes').state_dict()
    names = tuple('abcdefgh')
    checkpoint = dict(state_dict=state, meta=dict(dataset_meta=dict(classes=names)))
    assert vidtx_mm.create_model('swin3d_shapes', checkpoint=checkpoint).classes == names


def test_a_classifier_left_at_init_is_said() -> None:
    state = vidtx_mm.create_model('swin3d_shapes', num_classes=3).state_dict()
    with pytest.warns(UserWarning, match='classifier stays at its initialization'):
        vidtx_mm.create_model('swin3d_shapes', checkpoint=state)


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('swin3d_t_k40', 'did you mean swin3d_t_k400 or'),
        ('missing.py', 'missing.py: no such config file'),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vidtx_mm.create_model(name)


def test_a_config_of_another_task(tmp_path: Path) -> None:
    file = tmp_path / 'detector.py'
    file.write_text("model = dict(type='MaskRCNN', backbone=dict(type='vidtx_mm.ImageUniFormer'))")
    with pytest.raises(ValueError, match='no recognizer of clips'):
        vidtx_mm.create_model(file)


@pytest.mark.parametrize(
    ('checkpoint', 'error', 'message'),
    [
        ('nowhere.pth', FileNotFoundError, 'nowhere.pth: no such checkpoint'),
        ('swin3d_t_k40', ValueError, 'did you mean swin3d_t_k400'),
        ('swin3d_l384_in22k_k400', ValueError, 'no address is published'),
        ('uniformer_s_k400', CheckpointError, 'drive.google.com/.* opens in a browser only.*save it as .*1-jGZII.*pth'),
        ('timesformer_base_k400-huggingface', CheckpointError, 'hf://facebook/timesformer-base-finetuned-k400/FILE'),
    ],
)
def test_unknown_checkpoints(checkpoint: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        vidtx_mm.create_model('swin3d_shapes', checkpoint=checkpoint)


def test_a_checkpoint_of_another_family() -> None:
    state = vidtx_mm.create_model('vivit_shapes').state_dict()
    with pytest.raises(CheckpointError, match='into VideoSwin: .* use a Swin file'):
        vidtx_mm.create_model('swin3d_shapes', checkpoint=state)


def test_an_unknown_backbone_argument_lists_the_valid_ones() -> None:
    with pytest.raises(TypeError, match='window_size'):
        vidtx_mm.create_model('swin3d_shapes', windows=3)


def test_list_models() -> None:
    found = vidtx_mm.list_models('swin3d_t_k400*', pretrained=True)
    assert {'swin3d_t_k400', 'swin3d_t_k400-torchvision'} <= {info.weights for info in found}
    assert all(info.url.startswith('https://') for info in found)
    (authors,) = [info for info in found if info.weights == 'swin3d_t_k400']
    assert (authors.data, authors.result, authors.parameters) == ('Kinetics-400', 'top-1 78.8, top-5 93.6', 28_158_070)
    assert {info.config for info in vidtx_mm.list_models()} > {'vivit_b_k400', 'uniformer_s_k400'}
    assert vidtx_mm.list_models('no such*') == []
    with pytest.raises(AttributeError, match='list_model'):
        _ = vidtx_mm.list_model


@pytest.mark.parametrize(
    ('config', 'weights'),
    [
        ('swin3d_t_k400', 'swin3d_t_k400'),  # of three with this data, those of its name
        ('uniformer_s_k400', 'uniformer_s_k400-mmaction2'),  # its own have a page alone
        ('swin3d_t_split_k400', None),
        ('swin3d_shapes', None),
    ],
)
def test_published_weights_of_a_config(config: str, weights: str | None) -> None:
    found = published(config)
    assert (found and found.weights) == weights
