"""ViViT beside the official numbers and the implementation of transformers."""

import protocol
import pytest
import torch
from helpers import randomized
from mmaction.registry import MODELS
from transformers import VivitConfig, VivitForVideoClassification, VivitModel

from vidtx_mm.backbones import ViViT
from vidtx_mm.weights import load_pretrained

ATTENTIONS = {
    'spacetime': 'joint',
    'factorized_encoder': 'factorized_encoder',
    'factorized_self_attention_block': 'factorized_self_attention',
}


def recognizer(classes: int, dim: int, **backbone) -> torch.nn.Module:
    head = dict(type='vidtx_mm.VideoClsHead', num_classes=classes, in_channels=dim, pool='none')
    backbone = dict(type='vidtx_mm.ViViT', **backbone)
    preprocessor = dict(type='mmaction.ActionDataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3, format_shape='NCTHW')
    model = dict(type='Recognizer3D', backbone=backbone, cls_head=head, data_preprocessor=preprocessor)
    return MODELS.build(model).eval()


def drawn(case: dict) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(protocol.weight(key, shape)) for key, shape, *_ in case['state_dict']}


def clip_of(case: dict) -> torch.Tensor:
    """The case's input as (B, C, T, H, W)."""
    clip = torch.from_numpy(protocol.input_array(case['input']['name'], case['input']['shape'])).double()
    return clip.movedim(-1, 1) if case['input']['layout'] == 'B,T,H,W,C' else clip.transpose(1, 2)


def hold(case: dict, found: dict[str, torch.Tensor]) -> None:
    """Every tensor that the case records; ours may have its tokens in a grid."""
    assert found.keys() == case['outputs'].keys()
    for key, expected in case['outputs'].items():
        assert protocol.compare(expected, found[key].reshape(expected['shape'])) < 1e-6, key


def run(model: torch.nn.Module, clip: torch.Tensor) -> dict[str, torch.Tensor]:
    """Our tensors by the names of the cases."""
    found: dict[str, torch.Tensor] = {}
    backbone = model.backbone

    def record(name: str, module: torch.nn.Module) -> None:
        module.register_forward_hook(lambda _, args, output: found.update({name: output, f'into_{name}': args[0]}))

    record('embedding', backbone.patch_embed)
    for index in (0, len(backbone.blocks) - 1):
        record(f'encoderblock_{index}', backbone.blocks[index])
    with torch.no_grad():
        found['features'] = backbone(clip)
        found['logits'] = model.cls_head(found['features'])
        # For the class token, the last block computes that alone; the case has all tokens.
        found['encoderblock_11'] = backbone.blocks[11](found['into_encoderblock_11'])
        found['encoder_norm'] = backbone.norm(found['encoderblock_11'])
    return found


@pytest.mark.parametrize(
    'name', ['vivit_b16x2_model1_spacetime_in8x224', 'vivit_b16x2_model3_space_time_in8x224', 'hf_vivit_b16x2_in8x224']
)
def test_official_numbers(name):
    """All tensors that the case records, in float64, with the weights through ``source='auto'``."""
    case = protocol.case(name)
    attention = ATTENTIONS[case['config'].get('attention_type', 'spacetime')]
    pool = 'cls' if attention == 'joint' else 'avg'
    model = recognizer(400, 768, attention=attention, pool=pool, num_frames=8)
    report = load_pretrained(model, drawn(case))
    known = ('class order', 'does not show its order')
    assert report.coverage == 1 and all(any(word in note for word in known) for note in report.notes)
    found = run(model.double(), clip_of(case))
    if name.startswith('hf'):
        found = {
            'embeddings': found['into_encoderblock_0'],
            'hidden_after_layer0': found['encoderblock_0'],
            'features': found['features'],
            'logits': found['logits'],
        }
    hold(case, {key: found[key] for key in case['outputs']})


def test_official_numbers_of_the_factorized_encoder():
    """The whole model, its spatial encoder, and the baseline that averages the frames, from one file."""
    case = protocol.case('vivit_b16x2_model2_fe_in16x224')
    whole = dict(attention='factorized_encoder', temporal_depth=4, num_frames=16)
    model = recognizer(400, 768, **whole, out_indices=(11, 15))
    weights = drawn(case)
    assert load_pretrained(model, weights).coverage == 1
    spatial = {key: value for key, value in weights.items() if 'Temporal' not in key}
    baseline = recognizer(400, 768, **whole | dict(temporal_depth=0))
    assert load_pretrained(baseline, spatial).coverage == 1
    with torch.no_grad():
        mean, temporal = model.double().backbone(clip_of(case))
        found = {
            'spatial_cls_mean_over_time': mean,
            'temporal_encoder_cls': temporal,
            'logits': model.cls_head(temporal),
            'spatial_only_baseline_logits': baseline.double().cls_head(mean),
        }
    hold(case, found)
    assert torch.equal(baseline.backbone.norm.weight, model.backbone.norm.weight)


CONFIG = VivitConfig(
    image_size=32,
    num_frames=4,
    tubelet_size=[2, 8, 8],
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=3,
    intermediate_size=96,
    num_labels=5,
)
OURS = dict(arch=dict(embed_dims=24, depth=3, num_heads=3), tubelet_size=(2, 8, 8), num_frames=4, img_size=32)


def test_transformers_in_memory():
    theirs = randomized(VivitForVideoClassification(CONFIG))
    model = recognizer(5, 24, **OURS)
    assert load_pretrained(model, theirs.state_dict()).coverage == 1
    clip = torch.randn(2, 3, 4, 32, 32)
    expected = theirs(clip.transpose(1, 2)).logits
    torch.testing.assert_close(model.cls_head(model.backbone(clip)), expected, rtol=1e-5, atol=1e-5)


def test_transformers_files(tmp_path):
    """What ``save_pretrained`` writes has the published names."""
    theirs = randomized(VivitForVideoClassification(CONFIG))
    theirs.save_pretrained(tmp_path)
    model = recognizer(5, 24, **OURS)
    report = load_pretrained(model, tmp_path / 'model.safetensors')
    assert report.coverage == 1 and report.source == 'transformers ViViT'
    clip = torch.randn(2, 3, 4, 32, 32)
    expected = theirs(clip.transpose(1, 2)).logits
    torch.testing.assert_close(model.cls_head(model.backbone(clip)), expected, rtol=1e-5, atol=1e-5)


def test_transformers_backbone():
    theirs = randomized(VivitModel(CONFIG))
    model = ViViT(**OURS).eval()
    report = load_pretrained(model, theirs.state_dict())
    assert report.coverage == 1 and len(report.keys('dropped')) == 2  # the pooler
    clip = torch.randn(2, 3, 4, 32, 32)
    expected = theirs(clip.transpose(1, 2)).last_hidden_state[:, 0]
    torch.testing.assert_close(model(clip), expected, rtol=1e-5, atol=1e-5)
