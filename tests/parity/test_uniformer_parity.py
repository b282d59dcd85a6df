"""UniFormer beside the official numbers and MMAction2's implementation."""

from typing import Any

import protocol
import pytest
import torch
from mmaction.models.backbones.uniformer import UniFormer
from mmaction.registry import MODELS
from torch import Tensor, nn

from vidtx_mm.backbones import ImageUniFormer, VideoUniFormer
from vidtx_mm.weights import load_pretrained
from vidtx_mm.weights.labels import PERMUTATIONS


def recognizer(classes: int, **backbone: Any) -> nn.Module:
    head = dict(type='vidtx_mm.VideoClsHead', num_classes=classes, in_channels=512)
    preprocessor = dict(type='mmaction.ActionDataPreprocessor', format_shape='NCTHW')
    model = dict(type='Recognizer3D', backbone=backbone, cls_head=head, data_preprocessor=preprocessor)
    return MODELS.build(model).eval()


def filled(name: str) -> tuple[dict[str, Any], dict[str, Tensor], Tensor]:
    """The case, the protocol's weights and its input, in float64."""
    case = protocol.case(name)
    drawn = protocol.fill({key: shape for key, shape, *_ in case['state_dict']})
    weights = {key: torch.from_numpy(array).double() for key, array in drawn.items()}
    weights |= {key: torch.tensor(0) for key, *_ in case['state_dict'] if key not in drawn}
    x = torch.from_numpy(protocol.input_array(case['input']['name'], case['input']['shape'])).double()
    return case, weights, x


def stage_outputs(backbone: nn.Module) -> dict[str, Tensor]:
    """Filled by the next forward: the first down-sampling and each stage, channels first."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        return lambda module, args, output: found.__setitem__(name, output.movedim(-1, 1))

    backbone.patch_embed1.register_forward_hook(keep('patch_embed1'))
    backbone.blocks3[0].register_forward_hook(keep('blocks3.0'))
    for stage in range(1, 5):
        getattr(backbone, f'blocks{stage}')[-1].register_forward_hook(keep(f'stage{stage}'))
    return found


@pytest.mark.parametrize(
    'name, container, backbone',
    [
        ('uniformer_s_k400_in16x224', 'model_state', dict(type='vidtx_mm.VideoUniFormer')),
        ('uniformer_s_k400_split_in8x128', None, dict(type='vidtx_mm.VideoUniFormer', attention='split')),
        ('uniformer_small_in1k', 'model', dict(type='vidtx_mm.ImageUniFormer', final_norm=True)),
        (
            'uniformer_small_plus_in1k',
            'model',
            dict(type='vidtx_mm.ImageUniFormer', arch='small-plus', final_norm=True),
        ),
    ],
)
def test_official_classifiers(name, container, backbone):
    """Every tensor that the case records, in float64; the Kinetics classifier comes in the order of the lists.

    A full-size clip takes half a minute in float64, but the case exists for no other and shows every epsilon.
    """
    case, weights, x = filled(name)
    model = recognizer(case['config']['num_classes'], **backbone).double()
    assert load_pretrained(model, {container: weights} if container else weights).coverage == 1
    found = stage_outputs(model.backbone)
    with torch.no_grad():
        features = model.backbone(x)
        logits = model.cls_head(features)
    if case['config']['num_classes'] == 400:
        logits = logits[:, list(PERMUTATIONS['uniformer_k400'])]
    found |= {'norm': features, 'pooled': features.flatten(2).mean(2), 'logits': logits}
    for key, expected in case['outputs'].items():
        assert protocol.compare(expected, found[key]) < 1e-6, key


@pytest.mark.parametrize(
    'name, stage3', [('uniformer_dense_s_global_256x192', 'global'), ('uniformer_dense_s_hybrid14_320x416', 'hybrid')]
)
def test_official_dense_maps(name, stage3):
    case, weights, x = filled(name)
    model = ImageUniFormer('small', stage3=stage3).eval().double()
    report = load_pretrained(model, {'state_dict': {f'backbone.{key}': value for key, value in weights.items()}})
    assert report.coverage == 1
    found = stage_outputs(model)
    with torch.no_grad():
        maps = model(x)
    found |= {f'out{i}': y for i, y in enumerate(maps)}
    for key, expected in case['outputs'].items():
        assert protocol.compare(expected, found[key]) < 1e-6, key


TINY: dict[str, Any] = dict(head_dim=16, mlp_ratio=3)
DEPTHS, DIMS = [2, 1, 2, 1], [16, 32, 48, 64]


def mmaction_and_ours() -> tuple[UniFormer, VideoUniFormer]:
    """Two models with MMAction2's weights, running statistics included, and its LayerNorm epsilon."""
    torch.manual_seed(0)
    reference = UniFormer(depth=DEPTHS, embed_dim=DIMS, drop_path_rate=0.0, pretrained2d=False, **TINY)
    for name, tensor in reference.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.5, 1.5)
        elif tensor.is_floating_point():
            tensor.add_(torch.randn_like(tensor), alpha=0.05)
    arch = dict(depths=DEPTHS, embed_dims=DIMS, **TINY)
    ours = VideoUniFormer(arch, drop_path_rate=0.0, norm_eps=1e-5)
    load_pretrained(ours, {'state_dict': {f'backbone.{k}': v for k, v in reference.state_dict().items()}})
    return reference, ours


@pytest.mark.parametrize('size', [(8, 64, 64), (3, 70, 101)])
def test_outputs_equal_mmaction(size):
    reference, ours = (model.eval() for model in mmaction_and_ours())
    x = torch.randn(2, 3, *size)
    with torch.no_grad():
        expected, found = reference(x), ours(x)
    assert float((found - expected).abs().max() / expected.abs().mean()) < 1e-5


def test_gradients_equal_mmaction():
    """In training: outputs, BatchNorm's running statistics and all gradients."""
    reference, ours = (model.double().train() for model in mmaction_and_ours())
    x = torch.randn(2, 3, 4, 64, 64, dtype=torch.float64)
    for model in (reference, ours):
        model(x).square().mean().backward()
    torch.testing.assert_close(dict(ours.named_buffers()), dict(reference.named_buffers()))
    expected = {name: p.grad for name, p in reference.named_parameters()}
    torch.testing.assert_close({name: p.grad for name, p in ours.named_parameters()}, expected)


def test_inflation_equals_mmaction():
    """MMAction2's port puts the image kernel into the middle frame: our rule 'center'."""
    reference, ours = mmaction_and_ours()
    arch = dict(depths=DEPTHS, embed_dims=DIMS, **TINY)
    image = ImageUniFormer(arch, final_norm=True).state_dict()
    load_pretrained(ours, image, inflate='center')
    for key, tensor in ours.state_dict().items():
        wanted = image[key]
        if wanted.shape != tensor.shape:
            wanted = reference._inflate_weight(wanted, tensor.shape[2])
        assert torch.equal(tensor, wanted), key
