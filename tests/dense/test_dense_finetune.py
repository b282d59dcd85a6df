"""Presets of docs/dense.md on detection, pose and segmentation recipes, and the examples of configs/custom."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from reduced import CONFIG_DIR, MASK_RCNN, POSE, knobs, reduce, with_knobs
from resolved import golden, group, resolved
from test_dense_weights import filled
from test_segmentation import FPN
from test_segmentation import knobs as segmentation_knobs
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vidtx_mm.benchmark.step import measure_step
from vidtx_mm.cli import main

PAGE = (CONFIG_DIR.parent / 'docs/dense.md').read_text(encoding='utf-8')
PRESETS = {text.split(':')[0]: text for text in re.findall(r'```python\n# (.*?)```', PAGE, flags=re.DOTALL)}
RECIPES = ('detection/mask_rcnn_uniformer_s_fpn_1x_coco', 'pose/td-hm_uniformer_s_256x192_coco')
RECIPES += ('segmentation/fpn_uniformer_s_hybrid_ade20k',)
BOX_FLOOR = 0.1  # AP at an overlap of 0.5 on four images; 0.22 where this was written, 0 without training


@pytest.fixture(autouse=True)
def unformatted_configs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write configs without yapf, which takes longer than the training of these tests."""

    def text(cfg: Config) -> str:
        return ''.join(f'{key} = {value!r}\n' for key, value in cfg.to_dict().items())

    monkeypatch.setattr(Config, 'pretty_text', property(text))


@pytest.fixture(params=RECIPES, ids=lambda name: name.partition('/')[0])
def recipe(request: pytest.FixtureRequest, figures: Path, tmp_path: Path) -> Config:
    """A reduced recipe, as a file in ``tmp_path``."""
    kind = request.param.partition('/')[0]
    values, changes = {
        'detection': (knobs(figures, 'instances'), MASK_RCNN),
        'pose': (knobs(figures, 'keypoints'), POSE),
        'segmentation': (segmentation_knobs(figures, 2), FPN),
    }[kind]
    return reduce(CONFIG_DIR / f'{request.param}.py', values, changes, tmp_path)


def with_preset(name: str, recipe: Config) -> Config:
    path = Path(recipe.filename).with_name('preset.py')
    path.write_text(re.sub(r"_base_ = '.*'", f'_base_ = {recipe.filename!r}', '# ' + PRESETS[name]))
    return Config.fromfile(path)


def build(cfg: Config) -> nn.Module:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model).train()


def kept_bytes(backbone: nn.Module) -> int:
    """Count what a forward pass keeps for the backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = backbone(torch.zeros(1, 3, 96, 96))
    assert all(output.requires_grad for output in outputs)
    return sum(kept.values())


def test_activation_checkpointing_keeps_less(recipe: Config) -> None:
    recipe.model.backbone.with_cp = False
    cfg = with_preset('Activation checkpointing', recipe)
    assert cfg.model.backbone.with_cp is True
    assert kept_bytes(build(cfg).backbone) < 0.5 * kept_bytes(build(recipe).backbone)


def test_frozen_stages_do_not_change(recipe: Config) -> None:
    """Neither weights nor statistics of stem and two stages; no BatchNorm counts; everything else trains."""
    cfg = with_preset('Frozen stages', recipe)
    model = build(cfg)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        batch: Any = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
        model.train_step(batch, build_optim_wrapper(model, cfg.optim_wrapper))
    frozen = re.compile(r'backbone\.(patch_embed|blocks)[12]\.')
    unused = re.compile(r'backbone\.norm[123]\.' if recipe.default_scope == 'mmpose' else '$^')
    for key, parameter in model.named_parameters():
        assert parameter.requires_grad == (not frozen.match(key)), key
        assert torch.equal(parameter, before[key]) == bool(frozen.match(key) or unused.match(key)), key
    names = {key for key, _ in model.named_parameters() if frozen.match(key)}
    assert {'backbone.patch_embed1.proj.weight', 'backbone.blocks1.0.pos_embed.weight'} <= names
    for key, value in model.backbone.named_buffers(prefix='backbone'):
        assert torch.equal(value, before[key]), key
    for name, module in model.backbone.named_modules():
        assert not (module.training and (frozen.match(f'backbone.{name}.') or isinstance(module, _BatchNorm))), name


def test_benchmark_step(figures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command of docs/dense.md on a small model."""
    reduce(CONFIG_DIR / f'{RECIPES[0]}.py', knobs(figures, 'instances'), MASK_RCNN, tmp_path)
    path = tmp_path / f'{Path(RECIPES[0]).name}.py'
    cost = measure_step(path, {'train_dataloader.batch_size': 1, 'model.backbone.with_cp': True})
    assert cost.shape == (1, 3, 96, 96) and cost.peak_mib > 0 and cost.seconds > 0
    options = ['--cfg-options', 'train_dataloader.batch_size=2']
    assert main(['benchmark-step', str(path), '--steps', '1', '--device', 'cpu', *options]) == 0
    assert re.search(r'^peak memory [\d,]+ MiB, time [\d.]+ s; input 2 x 3 x 96 x 96$', capsys.readouterr().out, re.M)


def published_file(base: Config, path: Path) -> None:
    """Write weights of the golden protocol for a reduced model, as published: without meta."""
    with DefaultScope.overwrite_default_scope(base.default_scope), torch.device('meta'):
        shapes = {key: value.shape for key, value in MODELS.build(base.model).state_dict().items()}
    torch.save({'state_dict': {key: filled(key, shape) for key, shape in shapes.items()}}, path)


def example(name: str, base: Config, values: Mapping[str, Any], folder: Path) -> Config:
    """Return an example on top of a reduced recipe, which starts from a file in the published format."""
    published_file(base, folder / 'published.pth')
    paths = dict(_base_=base.filename, load_from=str(folder / 'published.pth'))
    copy = folder / f'{name}.py'
    copy.write_text(with_knobs((CONFIG_DIR / f'custom/{name}.py').read_text(), {**values, **paths}))
    cfg = Config.fromfile(copy)
    cfg.train_cfg.val_interval = cfg.default_hooks.checkpoint.interval = cfg.epochs  # once, at the end
    cfg.work_dir = str(folder / 'work')
    return cfg


@pytest.mark.parametrize('path', sorted((CONFIG_DIR / 'custom').glob('*.py')), ids=lambda path: path.stem)
def test_example_equals_its_golden(path: Path) -> None:
    assert resolved(path) == golden(group(path)).get(path.stem), 'meant? then run tests/goldens/resolved.py'


def left_at_init(folder: Path) -> set[str]:
    report = (folder / 'work/pretrained_report.txt').read_text().splitlines()
    return {line for line in report if line.startswith('left at init')}


def test_a_detector_learns_one_class(figures: Path, tmp_path: Path) -> None:
    """The layers of 80 classes are replaced, which the report says, and the boxes of the new class are found."""
    base = reduce(CONFIG_DIR / f'{RECIPES[0]}.py', {}, MASK_RCNN, tmp_path)
    values = dict(data_root=f'{figures}/', batch_size=4, num_workers=0, lr=2e-3, warmup=5, epochs=12, steps=[9])
    runner = Runner.from_cfg(example('mask_rcnn_uniformer_s_fpn_one_class', base, values, tmp_path))
    runner.train()
    assert left_at_init(tmp_path) == {
        f'left at init\troi_head.{layer}.{part}\t{old} outputs in the file, {new} in the model'
        for layer, old, new in (
            ('bbox_head.fc_cls', 81, 2),
            ('bbox_head.fc_reg', 320, 4),
            ('mask_head.conv_logits', 80, 1),
        )
        for part in ('weight', 'bias')
    }
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert sum(losses[-8:]) < 0.65 * sum(losses[:8])
    assert runner.message_hub.get_scalar('val/coco/bbox_mAP_50').current() > BOX_FLOOR


def test_a_pose_model_learns_five_keypoints(figures: Path, tmp_path: Path) -> None:
    """The layer of 17 keypoints is replaced, which the report says, and the loss falls."""
    codec = dict(type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=1)
    base = reduce(CONFIG_DIR / f'{RECIPES[1]}.py', dict(codec=codec), POSE, tmp_path)
    values = dict(data_root=f'{figures}/', batch_size=4, num_workers=0, lr=2e-3, warmup=5, epochs=5, steps=[4])
    runner = Runner.from_cfg(example('td-hm_uniformer_s_256x192_five_keypoints', base, values, tmp_path))
    runner.train()
    assert left_at_init(tmp_path) == {
        f'left at init\thead.final_layer.{part}\t17 outputs in the file, 5 in the model' for part in ('weight', 'bias')
    }
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6]), losses
    assert runner.message_hub.get_scalar('val/coco/AP').current() >= 0
    flips = runner.val_dataloader.dataset.metainfo['flip_indices']
    assert flips == [0, 2, 1, 4, 3]
