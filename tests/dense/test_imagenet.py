"""UniFormer on ImageNet in mmpretrain: parameters, published files, heads, and recipes."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, PARAM_SCHEDULERS, TRANSFORMS, DefaultScope
from protocol import compare, input_array
from reduced import CONFIG_DIR
from resolved import golden as resolved_golden
from resolved import group, resolved, unused
from test_dense_weights import backbone_file, golden
from torch import Tensor, nn
from torch.nn import functional as F

from vidtx_mm.benchmark.kinds import count_file
from vidtx_mm.weights import CheckpointError, load_pretrained
from vidtx_mm.weights.formats import open_checkpoint
from vidtx_mm.weights.load import adapt

CONFIGS = {path.stem: path for path in sorted((CONFIG_DIR / 'imagenet').glob('*.py'))}
ROWS = {
    row['Name']: row for row in yaml.safe_load((CONFIG_DIR / 'metafiles/uniformer_imagenet.yml').read_text())['Models']
}
# Tensors of the published files without aux_head.
TENSORS = {'s': 331, 's_plus': 386, 'b': 687, 'b_ls': 741, 'l_ls': 849, 'xxs': 334, 'xs': 384}
PARAMETERS = {
    'uniformer_s_in1k': 21_545_256,
    'uniformer_s_plus_in1k': 24_032_552,
    'uniformer_b_in1k': 49_776_552,
    'uniformer_b_ls_in1k': 49_796_520,
    'uniformer_l_ls_in1k': 100_098_768,
    'uniformer_xxs_in1k': 10_215_280,
    'uniformer_xs_in1k': 16_509_264,
}
AUX_HEAD = 513_000
OFFICIAL = {'head.fc_token.': 'head_cls.', 'head.fc_aux.': 'aux_head.', 'head.fc.': 'head.', 'backbone.': ''}


def options_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the ``--cfg-options`` in the note of a row."""
    _, _, text = row.get('Note', '').partition('--cfg-options ')
    return {key: ast.literal_eval(value) for key, value in re.findall(r'(\w+)=(\w+)', text)}


def config(name: str, **options: Any) -> Config:
    cfg = Config.fromfile(CONFIGS[name])
    cfg.merge_from_dict(options)
    return cfg


def build(cfg: Config, device: str = 'cpu') -> nn.Module:
    """Build a classifier without its preprocessing, whose tensors do not build on the meta device."""
    with DefaultScope.overwrite_default_scope('mmpretrain'), torch.device(device):
        return MODELS.build({**cfg.model, 'data_preprocessor': None, 'train_cfg': None}).eval()


def official_name(key: str) -> str:
    prefix = next(prefix for prefix in OFFICIAL if key.startswith(prefix))
    return OFFICIAL[prefix] + key.removeprefix(prefix)


@cache
def classifier(num_classes: int = 5, **options: Any) -> nn.Module:
    """A reduced UniFormer-S."""
    cfg = config('uniformer_s_in1k', num_classes=num_classes, **options)
    cfg.model.backbone.arch = dict(depths=(1, 1, 1, 1), embed_dims=(8, 8, 64, 64), head_dim=64, mlp_ratio=2.0)
    cfg.model.head.in_channels = 64
    return build(cfg)


def size_of(stem: str) -> str:
    return stem.removeprefix('uniformer_').removesuffix('_in1k')


@cache
def check_file(stem: str, token_labels: bool) -> int:
    """Load a file of the official names and shapes strictly, head included; return the number of parameters."""
    model = build(config(stem, **(dict(token_labels=True) if token_labels else {})), 'meta')
    file = {official_name(key): torch.zeros(()).expand(value.shape) for key, value in model.state_dict().items()}
    assert len(file) == TENSORS[size_of(stem)] + 2 * token_labels
    assert {'head.weight', 'norm.running_mean', 'blocks3.0.attn.qkv.weight'} <= set(file)
    assert ('aux_head.weight' in file) == token_labels
    state_dict, report = adapt(open_checkpoint({'model': file}), model)
    assert report.coverage == 1 and not report.keys('left at init') and not report.keys('dropped')
    assert state_dict.keys() == model.state_dict().keys()
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize('name', ROWS)
def test_every_published_file_fills_the_model_of_its_row(name: str) -> None:
    """The options in a row's note give the model of its file; parameters are the published ones."""
    meta, stem, options = ROWS[name]['Metadata'], Path(ROWS[name]['Config']).stem, options_of(ROWS[name])
    labeled = 'token labeling' in meta['Architecture']
    cfg = config(stem, **options)
    assert cfg.get('token_labels', False) == labeled
    aux = AUX_HEAD if options.get('token_labels') else 0
    assert check_file(stem, labeled) == PARAMETERS[stem] + aux == meta['Parameters']
    assert meta['Resolution'] == f'{cfg.image_size}x{cfg.image_size}'
    head_dim = re.search(r'head_dim (\d+)', meta['Architecture'])
    if 'head_dim' in cfg:
        assert cfg.model.backbone.arch.head_dim == (int(head_dim[1]) if head_dim else 64)


@pytest.mark.parametrize('name', CONFIGS)
def test_header_and_entry_agree(name: str) -> None:
    header = ast.get_docstring(ast.parse(CONFIGS[name].read_text()))
    assert f'top-1 {ROWS[name]["Results"][0]["Metrics"]["Top 1 Accuracy"]}' in header
    assert f'{PARAMETERS[name] / 1e6:.1f}M' in ' '.join(header.split())


@pytest.mark.parametrize('name', ['uniformer_s_in1k', 'uniformer_s_plus_in1k', 'uniformer_l_ls_in1k'])
def test_multiply_adds_are_the_published_ones(name: str) -> None:
    shape, counted = count_file(CONFIGS[name])
    assert shape == (3, 224, 224) and counted.parameters == PARAMETERS[name]
    assert counted.macs == pytest.approx(ROWS[name]['Metadata']['FLOPs'], rel=0.01)


@pytest.mark.parametrize('path', CONFIGS.values(), ids=lambda path: path.stem)
def test_resolved_config_equals_its_golden(path: Path) -> None:
    assert resolved(path) == resolved_golden(group(path)).get(path.stem), 'meant? then run tests/goldens/resolved.py'


@pytest.mark.parametrize('path', CONFIGS.values(), ids=lambda path: path.stem)
def test_every_variable_at_the_top_is_used(path: Path) -> None:
    assert not unused(path)


@pytest.mark.parametrize(
    'name, case',
    [('uniformer_s_in1k', 'uniformer_small_in1k'), ('uniformer_s_plus_in1k', 'uniformer_small_plus_in1k')],
)
def test_classifier_computes_the_official_scores(name: str, case: str) -> None:
    numbers = golden(case)
    model = build(config(name))
    assert load_pretrained(model, {'model': backbone_file(numbers)}).coverage == 1
    x = torch.from_numpy(input_array(numbers['input']['name'], numbers['input']['shape'])).double()
    with torch.no_grad():
        assert compare(numbers['outputs']['logits'], model.double()(x).numpy()) < 1e-9


@pytest.mark.parametrize(
    'options, sides',
    [
        (dict(), (256, 224)),
        (dict(image_size=192), (219, 192)),
        (dict(image_size=160), (182, 160)),
        (dict(image_size=128), (146, 128)),
        (dict(token_labels=True), (248, 224)),
        (dict(token_labels=True, image_size=384), (426, 384)),
    ],
)
def test_sides_of_resize_and_crop(options: dict[str, Any], sides: tuple[int, int]) -> None:
    name = 'uniformer_s_in1k' if 'token_labels' in options else 'uniformer_xxs_in1k'
    _, resize, crop, _ = config(name, **options).test_dataloader.dataset.pipeline
    assert (resize.scale, crop.crop_size) == sides


def test_rates_are_those_of_timm() -> None:
    """Cosine by epochs after a linear warm-up, by the formula of timm 0.4.12."""
    cfg, steps = config('uniformer_s_in1k'), 4
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.lr)
    warmup, cosine = ({**row} for row in cfg.param_scheduler)
    assert warmup.pop('convert_to_iter_based') and (warmup['end'], cosine['T_max']) == (5, 300)
    by_step = PARAM_SCHEDULERS.get(warmup.pop('type')).build_iter_from_epoch(
        optimizer=optimizer, epoch_length=steps, **warmup
    )
    by_epoch = PARAM_SCHEDULERS.build(dict(cosine, optimizer=optimizer))
    found = []
    for _ in range(300):
        found.append(optimizer.param_groups[0]['lr'])
        for _ in range(steps):
            optimizer.step()
            by_step.step()
        by_epoch.step()
    epochs = np.arange(5, 300)
    expected = 1e-5 + (cfg.lr - 1e-5) * (1 + np.cos(np.pi * epochs / 300)) / 2
    assert found[0] == pytest.approx(1e-6)
    assert found[5:] == pytest.approx(expected.tolist(), rel=1e-3)


def test_a_step_takes_the_published_number_of_images_on_any_number_of_gpus() -> None:
    for name in ('uniformer_s_in1k', 'uniformer_xxs_in1k'):
        eight, two = config(name), config(name, gpus=2)
        assert eight.batch_size * 8 == eight.images_per_step and eight.optim_wrapper.accumulative_counts == 1
        assert two.optim_wrapper.accumulative_counts == 4
        assert two.auto_scale_lr.base_batch_size == 2 * two.batch_size


def test_all_25_pairs_of_the_light_policy_run() -> None:
    """Their fill is the mean of ImageNet; brightness of colors is never negated at random."""
    settings = config('uniformer_xxs_in1k').auto_augment
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        policy = TRANSFORMS.build(settings)
    assert len(policy.transforms) == 25
    image = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    for pair in policy.transforms:
        for operation in pair.transforms:
            operation.prob = 1.0
            assert getattr(operation, 'pad_val', (104, 116, 124)) == (104, 116, 124)
            assert operation.transform(dict(img=image.copy()))['img'].shape == image.shape


def samples(labels: list[int]) -> list[Any]:
    from mmpretrain.structures import DataSample

    return [DataSample().set_gt_label(label) for label in labels]


def test_scores_of_token_labeling_are_the_published_sum() -> None:
    model = classifier(token_labels=True)
    feats = torch.randn(2, 64, 3, 4)
    tokens = feats.flatten(2).transpose(1, 2)
    expected = model.head.fc(tokens.mean(1)) + 0.5 * model.head.fc_aux(tokens).max(1)[0]
    torch.testing.assert_close(model.head(feats), expected)
    torch.testing.assert_close(model.head.pre_logits(feats), tokens.mean(1))


def test_light_loss_is_the_mean_of_two_heads_and_scores_are_of_the_map() -> None:
    cfg = config('uniformer_xxs_in1k', num_classes=5)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = MODELS.build(cfg.model.head)
    feats, token = torch.randn(2, 448, 3, 3), torch.randn(2, 448)
    losses = [
        F.cross_entropy(scores, torch.tensor([1, 3]), label_smoothing=0.1)
        for scores in (head.fc(feats.mean((2, 3))), head.fc_token(token))
    ]
    torch.testing.assert_close(head.loss((feats, token), samples([1, 3]))['loss'], (losses[0] + losses[1]) / 2)
    torch.testing.assert_close(head((feats, token)), head.fc(feats.mean((2, 3))))
    with pytest.raises(TypeError, match='set class_token=True in the backbone, or use ImageClsHead'):
        head(feats)


def test_head_refuses_other_features() -> None:
    head = classifier().head
    with pytest.raises(ValueError, match=r'takes one map \(B, 64, H, W\), got \[.*set final_norm=True'):
        head((torch.zeros(1, 8, 4, 4), torch.zeros(1, 64, 2, 2)))
    with pytest.raises(ValueError, match=r'got \(1, 32, 2, 2\)'):
        head(torch.zeros(1, 32, 2, 2))


def file_of(model: nn.Module) -> dict[str, Tensor]:
    return {official_name(key): value for key, value in model.state_dict().items()}


def test_token_labeling_file_in_a_plain_head_is_refused() -> None:
    file, model = file_of(classifier(token_labels=True)), classifier()
    with pytest.raises(CheckpointError, match='(?s)not in the model.*fc_aux.*set token_labels=True in the config'):
        load_pretrained(model, file)
    report = load_pretrained(classifier(token_labels=True), file_of(classifier()))
    assert set(report.keys('left at init')) == {'head.fc_aux.weight', 'head.fc_aux.bias'}


def test_report_says_that_a_file_does_not_show_head_dim() -> None:
    """Files of 32 and 64 have the same shapes."""
    file = file_of(classifier(token_labels=True))
    (note,) = load_pretrained(classifier(token_labels=True), file).notes
    assert 'the file does not show its head_dim, the model has 64: published token-labeling files have 32' in note


def test_other_classes_leave_the_head_at_init() -> None:
    report = load_pretrained(classifier(num_classes=3), file_of(classifier()))
    assert set(report.keys('left at init')) == {'head.fc.weight', 'head.fc.bias'}
