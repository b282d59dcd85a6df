"""Training and testing in mmpretrain on the generated figures, and what can start from the result."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from reduced import ARCH, CONFIG_DIR, EMBED_DIMS, LIGHT_ARCH, reduce
from test_imagenet import CONFIGS, official_name
from torch import Tensor

from vidtx_mm.apis.convert import convert
from vidtx_mm.hooks.preflight_checks import data
from vidtx_mm.weights import load_pretrained

NAME = 'uniformer_s_in1k'
ACCURACY_FLOOR = 70  # percent; the larger class has 57 percent of the images
EPOCHS = 10
# Less augmentation than published, with which 60 steps on 49 images learn nothing.
CHANGES: dict[str, Any] = {
    'model.backbone.arch': ARCH,
    'model.head.in_channels': EMBED_DIMS[-1],
    'model.train_cfg': None,
    'train_dataloader.dataset.pipeline.1.crop_ratio_range': (0.6, 1.0),
    'train_dataloader.dataset.pipeline.3.magnitude_level': 2,
    'train_dataloader.sampler.num_repeats': 1,
    'default_hooks.checkpoint.interval': EPOCHS,
    'train_cfg.val_interval': EPOCHS,
}


def knobs(figures: Path, epochs: int) -> dict[str, Any]:
    return dict(
        data_root=f'{figures}/folders/',
        dataset_type='CustomDataset',
        num_classes=2,
        batch_size=8,
        gpus=1,
        images_per_step=8,
        num_workers=0,
        lr=3e-3,
        epochs=epochs,
        image_size=64,
    )


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory, figures: Path, run_mim: Callable[..., str]) -> Path:
    """Train by ``mim train`` in a folder that holds nothing but the config."""
    folder = tmp_path_factory.mktemp('mmpretrain')
    reduce(CONFIGS[NAME], knobs(figures, EPOCHS), CHANGES, folder)
    run_mim(['train', 'mmpretrain', f'{NAME}.py'], folder)
    return folder


def checkpoint(trained: Path) -> Path:
    return trained / f'work_dirs/{NAME}/epoch_{EPOCHS}.pth'


def state(trained: Path) -> dict[str, Tensor]:
    return torch.load(checkpoint(trained), weights_only=False)['state_dict']


def accuracy(trained: Path) -> float:
    (log,) = trained.glob('work_dirs/*/*/vis_data/scalars.json')
    (found,) = [line['accuracy/top1'] for line in map(json.loads, log.open()) if 'accuracy/top1' in line]
    return found


def test_trains(trained: Path) -> None:
    """The loss falls, and the accuracy is above that of a constant answer."""
    (log,) = trained.glob('work_dirs/*/*/vis_data/scalars.json')
    losses = [line['loss'] for line in map(json.loads, log.open()) if 'loss' in line]
    assert np.isfinite(losses).all()
    assert np.mean(losses[-12:]) < 0.85 * np.mean(losses[:12]), losses
    assert accuracy(trained) > ACCURACY_FLOOR


def test_a_file_of_published_form_is_tested(trained: Path, run_mim: Callable[..., str]) -> None:
    """``mim test`` takes official names without conversion, head included, and has the results of validation."""
    file = {official_name(key): value for key, value in state(trained).items()}
    assert {'head.weight', 'norm.running_mean', 'patch_embed1.proj.weight'} <= set(file)
    torch.save({'model': file}, trained / 'published.pth')
    arguments = ['--checkpoint', 'published.pth', '--work-dir', 'tested']
    output = run_mim(['test', 'mmpretrain', f'{NAME}.py', *arguments], trained)
    (*_, tested) = re.findall(r'accuracy/top1: ([\d.]+)', output)
    assert float(tested) == pytest.approx(accuracy(trained), abs=0.01)
    report = (trained / 'tested/pretrained_report.txt').read_text()
    assert 'image UniFormer' in report and 'renamed\thead.fc.weight\tfrom head.weight' in report


def test_converted_file_in_the_inferencer(trained: Path, figures: Path, tmp_path: Path) -> None:
    """mmpretrain's own tools load the converted file."""
    from mmpretrain.apis import ImageClassificationInferencer

    file = {official_name(key): value for key, value in state(trained).items()}
    torch.save({'model': file}, tmp_path / 'published.pth')
    convert(str(tmp_path / 'published.pth'), tmp_path / 'plain.pth', str(trained / f'{NAME}.py'))
    plain = torch.load(tmp_path / 'plain.pth', weights_only=True)['state_dict']
    assert plain.keys() == state(trained).keys()
    images = [str(path) for name in ('ball', 'person') for path in (figures / 'folders/val' / name).glob('*.png')]
    with DefaultScope.overwrite_default_scope('mmpretrain'):  # the inferencer keeps a scope that is set already
        inferencer = ImageClassificationInferencer(
            str(trained / f'{NAME}.py'), str(tmp_path / 'plain.pth'), device='cpu', classes=['ball', 'person']
        )
        found = [result['pred_class'] for result in inferencer(images)]
    right = np.mean([Path(image).parent.name == name for image, name in zip(images, found, strict=True)])
    assert 100 * right == pytest.approx(accuracy(trained), abs=0.01)


def backbone(config: str, scope: str, trained: Path, **changes: Any) -> Any:
    """Build the backbone of a config with the trained checkpoint as its start."""
    cfg = Config.fromfile(CONFIG_DIR / config)
    settings = {**cfg.model.backbone, 'arch': ARCH, **changes}
    settings['init_cfg'] = {**settings['init_cfg'], 'checkpoint': str(checkpoint(trained))}
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(settings)
    model.init_weights()
    return model


def test_the_trained_model_starts_a_video_model(trained: Path) -> None:
    model, source = backbone('uniformer_s_k400.py', 'mmaction', trained), state(trained)
    kernel = source['backbone.blocks1.0.attn.weight']
    torch.testing.assert_close(model.blocks1[0].attn.weight, kernel[:, :, None].expand(-1, -1, 5, -1, -1) / 5)
    for key in ('blocks3.1.attn.qkv.weight', 'norm.running_var', 'blocks4.0.mlp.fc2.bias'):
        assert torch.equal(model.state_dict()[key], source[f'backbone.{key}'])
    report = load_pretrained(model, checkpoint(trained))
    assert report.coverage == 1 and set(report.keys('dropped')) == {'head.fc.weight', 'head.fc.bias'}


@pytest.mark.parametrize(
    'config, scope',
    [
        ('detection/mask_rcnn_uniformer_s_fpn_1x_coco.py', 'mmdet'),
        ('pose/td-hm_uniformer_s_256x192_coco.py', 'mmpose'),
        ('segmentation/fpn_uniformer_s_hybrid_ade20k.py', 'mmseg'),
    ],
)
def test_the_trained_model_starts_a_dense_model(config: str, scope: str, trained: Path) -> None:
    model, source = backbone(config, scope, trained), state(trained)
    norms = {f'norm{stage}.{part}' for stage in range(1, 5) for part in ('weight', 'bias')}
    for key, value in model.state_dict().items():
        assert key in norms or torch.equal(value, source[f'backbone.{key}']), key


def test_light_model_trains_with_its_average(figures: Path, tmp_path: Path) -> None:
    """Two classifiers, mixed images, validation of averaged and plain weights, and a check of the labels."""
    changes = {'model.backbone.arch': LIGHT_ARCH, 'model.head.in_channels': EMBED_DIMS[-1]}
    cfg = reduce(CONFIGS['uniformer_xs_in1k'], knobs(figures, 1), changes, tmp_path)
    cfg.work_dir, cfg.log_level, cfg.experiment_name = str(tmp_path), 'ERROR', 'light'
    runner = Runner.from_cfg(cfg)
    runner.train()
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 6 and np.isfinite(losses).all()
    for name in ('val/accuracy/top1', 'val/accuracy/top1_origin'):
        assert 0 <= runner.message_hub.get_scalar(name).current() <= 100
    assert [finding.text for finding in data(runner)] == ['49 images of 2 classes', '14 images of 2 classes']
    runner.model.head.num_classes = 1
    assert any('labels 1 do not fit the 1 classes of the head' in found.text for found in data(runner))
    saved = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)
    assert {'backbone.norm_cls.weight', 'head.fc_token.weight'} <= saved['state_dict'].keys()
    assert 'module.head.fc.weight' in saved['ema_state_dict']
