"""Published files load into the detectors and pose models: names, counts and outputs."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from heads import cascade_mask_rcnn, mask_rcnn, pose
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from protocol import compare, input_array, weight
from reduced import CONFIG_DIR
from torch import Tensor, nn

from vidtx_mm.weights import CheckpointError, load_pretrained

GOLDENS = Path(__file__).parents[1] / 'goldens/cases'
DETECTOR = CONFIG_DIR / 'detection/mask_rcnn_uniformer_s_fpn_1x_coco.py'
CASCADE = CONFIG_DIR / 'detection/cascade_mask_rcnn_uniformer_s_fpn_3x_ms_coco.py'
ESTIMATOR = CONFIG_DIR / 'pose/td-hm_uniformer_s_256x192_coco.py'
SEGMENTOR = CONFIG_DIR / 'segmentation/fpn_uniformer_s_hybrid_ade20k.py'


def golden(name: str) -> dict[str, Any]:
    return json.loads((GOLDENS / f'{name}.json').read_text())


def filled(key: str, shape: Sequence[int]) -> Tensor:
    """Return a tensor of the golden protocol, in which counters are 0."""
    if key.endswith('num_batches_tracked'):
        return torch.zeros(shape, dtype=torch.int64)
    return torch.from_numpy(weight(key, shape))


def backbone_file(case: dict[str, Any]) -> dict[str, Tensor]:
    return {key: filled(key, shape) for key, shape, _ in case['state_dict']}


def published(case: dict[str, Any], head: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return a dense checkpoint of the golden protocol: the backbone of a case, seeded without prefix, and a head."""
    body = {f'backbone.{key}': value for key, value in backbone_file(case).items()}
    return body | {key: filled(key, shape) for key, shape in head.items()}


def build(path: Path, **changes: Any) -> nn.Module:
    cfg = Config.fromfile(path)
    cfg.merge_from_dict({'model.backbone.init_cfg': None, **changes})
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def deviation(model: nn.Module, case: dict[str, Any]) -> float:
    """Return the difference of the backbone's outputs from the golden ones, in double precision."""
    x = torch.from_numpy(input_array(case['input']['name'], case['input']['shape'])).double()
    with torch.no_grad():
        outputs = model.backbone.double().eval()(x)
    return max(compare(case['outputs'][f'out{i}'], output.numpy()) for i, output in enumerate(outputs))


@pytest.mark.parametrize(
    'config, case, head',
    [
        (DETECTOR, 'uniformer_dense_s_hybrid14_320x416', mask_rcnn()),
        (CASCADE, 'uniformer_dense_s_hybrid14_320x416', cascade_mask_rcnn()),
        (ESTIMATOR, 'uniformer_dense_s_global_256x192', pose('keypoint_head')),
        (ESTIMATOR, 'uniformer_dense_s_global_256x192', pose('head')),
    ],
    ids=['mask_rcnn', 'cascade', 'mmpose 0.x', 'mmpose project'],
)
def test_published_file_fills_the_whole_model(config: Path, case: str, head: dict[str, tuple[int, ...]]) -> None:
    """All parameters come from the file, and the backbone in the model computes the golden outputs."""
    numbers = golden(case)
    file, model = published(numbers, head), build(config)
    report = load_pretrained(model, {'state_dict': file})
    assert report.coverage == 1
    assert not report.keys('left at init') and not report.keys('dropped')
    assert len(report.keys('copied')) + len(report.keys('renamed')) == len(file)
    state = model.state_dict()
    assert all(torch.equal(state[key.replace('keypoint_head.', 'head.')], value) for key, value in file.items())
    if config != CASCADE:  # the same backbone as Mask R-CNN's
        assert deviation(model, numbers) < 1e-9


def test_imagenet_file_in_the_backbone_of_a_detector() -> None:
    """Seven tensors of the classifier are dropped, and the eight of the stage norms are left at init."""
    case = golden('uniformer_small_in1k')
    file = backbone_file(case)
    model = build(DETECTOR)
    heads = {key: value.clone() for key, value in model.state_dict().items() if not key.startswith('backbone.')}
    report = load_pretrained(model.backbone, {'model': file})
    parts = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    assert sorted(report.keys('dropped')) == sorted(['head.weight', 'head.bias', *(f'norm.{part}' for part in parts)])
    fresh = {f'norm{stage}.{part}' for stage in range(1, 5) for part in ('weight', 'bias')}
    assert set(report.keys('left at init')) == fresh
    assert all((getattr(model.backbone, f'norm{stage}').weight == 1).all() for stage in range(1, 5))
    assert torch.equal(model.backbone.blocks4[2].mlp.fc2.weight, file['blocks4.2.mlp.fc2.weight'])
    assert all(torch.equal(model.state_dict()[key], value) for key, value in heads.items())


def test_other_classes_and_keypoints_leave_the_last_layers_at_init() -> None:
    """With other classes, only the layers that depend on their number are left at init."""
    detector = build(DETECTOR, **{'model.roi_head.bbox_head.num_classes': 3, 'model.roi_head.mask_head.num_classes': 3})
    report = load_pretrained(detector, published(golden('uniformer_dense_s_hybrid14_320x416'), mask_rcnn()))
    new = {re.sub(r'.*head\.', '', key) for key in report.keys('left at init')}
    assert new == {f'{layer}.{part}' for layer in ('fc_cls', 'fc_reg', 'conv_logits') for part in ('weight', 'bias')}
    estimator = build(ESTIMATOR, **{'model.head.out_channels': 21})
    report = load_pretrained(estimator, published(golden('uniformer_dense_s_global_256x192'), pose('keypoint_head')))
    new = {key for key in report.keys('left at init')}
    assert new == {'head.final_layer.weight', 'head.final_layer.bias'}


def test_mismatches_are_named() -> None:
    case = golden('uniformer_dense_s_hybrid14_320x416')
    file = published(case, mask_rcnn())
    with pytest.raises(CheckpointError, match=r'in the file, not in the model(?s:.*)neck.lateral_convs.0'):
        load_pretrained(build(ESTIMATOR), file)
    del file['backbone.blocks3.4.attn.qkv.bias']
    with pytest.raises(CheckpointError, match=r'in the model, not in the file \(1\): blocks3.4.attn.qkv.bias'):
        load_pretrained(build(DETECTOR), file)


def test_video_checkpoint_in_a_detector_is_rejected() -> None:
    case = golden('uniformer_s_k400_in16x224')
    file = backbone_file(case)
    model = build(DETECTOR)
    for target in (model, model.backbone):
        with pytest.raises(CheckpointError, match=r'3-D \(video\).*the model is 2-D.*: load an image checkpoint'):
            load_pretrained(target, file)


@pytest.mark.parametrize('state', [{}, {'conv1.weight': torch.ones(1)}], ids=['empty', 'foreign'])
@pytest.mark.parametrize('config', [DETECTOR, ESTIMATOR], ids=['detector', 'pose model'])
def test_inits_of_the_hosts_refuse_files_without_weights_of_the_backbone(
    config: Path, state: dict[str, Tensor], tmp_path: Path
) -> None:
    cfg = Config.fromfile(config)
    cfg.model.backbone.init_cfg = None
    torch.save({'state_dict': state, 'meta': {'dataset_meta': {'classes': ('a',)}}}, tmp_path / 'a.pth')
    if config == DETECTOR:
        from mmdet.apis import init_detector as init
    else:
        from mmpose.apis import init_model as init
    with pytest.raises(RuntimeError, match=r'ImageUniFormer: none of its \d+ keys .*vidtx convert'):
        init(cfg, str(tmp_path / 'a.pth'), device='cpu')


@pytest.mark.parametrize('config', [DETECTOR, ESTIMATOR, SEGMENTOR], ids=['detector', 'pose model', 'segmentor'])
def test_image_side_below_32_is_rejected(config: Path) -> None:
    with pytest.raises(ValueError, match=r'the input is 64 x 31 \(H x W\).*at least 32 x 32: give a larger input'):
        build(config).eval()(torch.zeros(1, 3, 64, 31), None, mode='tensor')


def test_convert_writes_a_plain_checkpoint(tmp_path: Path, run_python: Callable[..., Any]) -> None:
    """``tools/convert.py`` renames the published file to the names of mmpose 1.x, which then loads it."""
    file = published(golden('uniformer_dense_s_global_256x192'), pose('keypoint_head'))
    torch.save({'state_dict': file}, tmp_path / 'published.pth')
    tool = CONFIG_DIR.parent / 'tools/convert.py'
    arguments = ['published.pth', 'plain.pth', '--config', ESTIMATOR, '--cfg-options', 'model.backbone.init_cfg=None']
    done = run_python([tool, *arguments], tmp_path)
    assert done.returncode == 0, done.stdout
    plain = torch.load(tmp_path / 'plain.pth', weights_only=True)['state_dict']
    build(ESTIMATOR).load_state_dict(plain)
    assert torch.equal(plain['head.final_layer.weight'], file['keypoint_head.final_layer.weight'])
