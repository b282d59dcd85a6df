"""UniFormer in mmsegmentation: parameters, published files, and ``mim`` runs on the generated figures."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from heads import semantic_fpn, upernet
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from reduced import ARCH, CONFIG_DIR, EMBED_DIMS, reduce
from resolved import golden as resolved_golden
from resolved import group, resolved, unused
from test_dense_weights import build, deviation, filled, golden, published
from torch import nn

from vidtx_mm.transforms import CheckLabelMap
from vidtx_mm.weights import load_pretrained

CONFIGS = {path.stem: path for path in sorted((CONFIG_DIR / 'segmentation').glob('*.py'))}
ENTRIES = {
    model['Name']: model
    for model in yaml.safe_load((CONFIG_DIR / 'metafiles/uniformer_segmentation.yml').read_text())['Models']
}
PARAMETERS = {
    'fpn_uniformer_s': 25_299_926,
    'fpn_uniformer_b': 53_531_222,
    'fpn_uniformer_xxs': 13_536_710,
    'fpn_uniformer_xs': 19_733_398,
    'upernet_uniformer_s': 51_521_132,
    'upernet_uniformer_b': 79_752_428,
}
MIOU_FLOOR = 33  # percent; calling everything ground gives 28 on these images
WIDTH = 32
COMMON: dict[str, Any] = {'model.backbone.arch': ARCH, 'model.backbone.init_cfg': None, 'model.backbone.window_size': 4}
FPN = COMMON | {
    'model.neck.in_channels': list(EMBED_DIMS),
    'model.neck.out_channels': WIDTH,
    'model.decode_head.in_channels': [WIDTH] * 4,
    'model.decode_head.channels': WIDTH,
}
UPERNET = COMMON | {
    'model.decode_head.in_channels': list(EMBED_DIMS),
    'model.decode_head.channels': WIDTH,
    'model.auxiliary_head.in_channels': EMBED_DIMS[2],
    'model.auxiliary_head.channels': WIDTH,
}


def knobs(figures: Path, iterations: int) -> dict[str, Any]:
    return dict(
        data_root=f'{figures}/ade/',
        dataset_type='BaseSegDataset',
        metainfo=dict(classes=('ground', 'person', 'ball'), palette=[[90, 90, 90], [220, 20, 60], [0, 0, 230]]),
        num_classes=3,
        batch_size=4,
        gpus=1,
        images_per_step=4,
        num_workers=0,
        lr=2e-3,
        iterations=iterations,
        interval=iterations,
        crop_size=(64, 64),
        test_scale=(192, 96),
    )


def meta_model(path: Path) -> nn.Module:
    cfg = Config.fromfile(path)
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('name', CONFIGS)
def test_parameters_are_the_published_ones(name: str) -> None:
    count = sum(parameter.numel() for parameter in meta_model(CONFIGS[name]).parameters())
    method_and_size = re.sub('_(hybrid|global)?_?ade20k', '', name)
    assert count == PARAMETERS[method_and_size] == ENTRIES[name]['Metadata']['Parameters']


@pytest.mark.parametrize('name', CONFIGS)
def test_header_and_entry_agree(name: str) -> None:
    header = (CONFIGS[name].read_text().split('"""'))[1]
    for value in ENTRIES[name]['Results'][0]['Metrics'].values():
        assert f'{value}' in header


@pytest.mark.parametrize(
    'attention, expected',
    [
        ('global', ('global', 14)),
        ('window32', ('window', 32)),
        ('hybrid32', ('hybrid', 32)),
        ('hybrid14', ('hybrid', 14)),
    ],
)
def test_one_variable_chooses_the_attention(attention: str, expected: tuple[str, int], tmp_path: Path) -> None:
    path = CONFIGS['upernet_uniformer_s_global_ade20k']
    copy = tmp_path / path.name
    copy.write_text(path.read_text().replace("test_attention = 'global'", f'test_attention = {attention!r}'))
    backbone = Config.fromfile(copy).model.backbone
    assert (backbone.stage3, backbone.get('window_size', 14)) == expected


def test_a_step_takes_the_published_number_of_images_on_any_number_of_gpus(tmp_path: Path) -> None:
    for name in ('fpn_uniformer_s_global_ade20k', 'upernet_uniformer_s_global_ade20k'):
        whole = Config.fromfile(CONFIGS[name])
        copy = tmp_path / f'{name}.py'
        copy.write_text(CONFIGS[name].read_text().replace('gpus = 8', 'gpus = 2'))
        quarter = Config.fromfile(copy)
        assert (whole.optim_wrapper.accumulative_counts, quarter.optim_wrapper.accumulative_counts) == (1, 4)
        assert quarter.train_cfg.max_iters == 4 * whole.train_cfg.max_iters == 4 * whole.iterations
        assert quarter.default_hooks.checkpoint.interval == 4 * whole.interval
        assert quarter.param_scheduler[0].end == 4 * whole.param_scheduler[0].end - 3


@pytest.mark.parametrize('path', CONFIGS.values(), ids=lambda path: path.stem)
def test_resolved_config_equals_its_golden(path: Path) -> None:
    assert resolved(path) == resolved_golden(group(path)).get(path.stem), 'meant? then run tests/goldens/resolved.py'


@pytest.mark.parametrize('path', CONFIGS.values(), ids=lambda path: path.stem)
def test_every_variable_at_the_top_is_used(path: Path) -> None:
    assert unused(path) in ([], ['images_per_step'])  # halved, it is still one batch of 8 GPUs; see the test above


def rates(name: str, iterations: list[int]) -> list[float]:
    """The rates of the schedule at the given iterations, by MMEngine's schedulers."""
    from mmengine.registry import PARAM_SCHEDULERS

    cfg = Config.fromfile(CONFIGS[name])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=cfg.lr)
    schedulers = [PARAM_SCHEDULERS.build(row | dict(optimizer=optimizer)) for row in cfg.param_scheduler]
    found = {}
    for step in range(max(iterations) + 1):
        found[step] = optimizer.param_groups[0]['lr']
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return [found[step] for step in iterations]


def test_upernet_rates_are_those_of_mmcv_1() -> None:
    """Poly over all iterations, times a warm-up that is linear over 1500 of them, by the formulas of mmcv 1."""
    steps, last = [0, 1, 700, 1499, 1500, 1600], 160_000
    expected = [6e-5 * (1 - i / last) * min(1, 1e-6 + (1 - 1e-6) * i / 1500) for i in steps]
    assert rates('upernet_uniformer_s_global_ade20k', steps) == pytest.approx(expected, rel=1e-5)


def test_fpn_rates_are_those_of_mmcv_1() -> None:
    steps, last = [0, 1, 500, 999, 1000, 1100], 80_000
    cosine = [2e-12 + (2e-4 - 2e-12) * (1 + np.cos(np.pi * i / last)) / 2 for i in steps]
    expected = [rate * min(1, 0.1 + 0.9 * i / 1000) for rate, i in zip(cosine, steps, strict=True)]
    assert rates('fpn_uniformer_s_global_ade20k', steps) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    'name, case, head, form',
    [
        ('fpn_uniformer_s_hybrid_ade20k', 'uniformer_dense_s_hybrid14_320x416', semantic_fpn(), 'state_dict'),
        ('fpn_uniformer_s_global_ade20k', 'uniformer_dense_s_global_256x192', semantic_fpn(), 'module.'),
        ('upernet_uniformer_s_global_ade20k', 'uniformer_dense_s_global_256x192', upernet(), 'model'),
    ],
)
def test_published_file_fills_the_whole_segmentor(
    name: str, case: str, head: dict[str, tuple[int, ...]], form: str
) -> None:
    """Every parameter comes from the file, and the backbone inside the segmentor computes the official numbers."""
    numbers = golden(case)
    file, model = published(numbers, head), build(CONFIGS[name])
    named = {f'module.{key}': value for key, value in file.items()} if form == 'module.' else file
    report = load_pretrained(model, named if form == 'module.' else {form: named})
    assert report.coverage == 1 and not report.keys('left at init') and not report.keys('dropped')
    state = model.state_dict()
    assert state.keys() == file.keys()
    assert all(torch.equal(state[key], value) for key, value in file.items())
    assert deviation(model, numbers) < 1e-9


def test_labels_outside_the_classes_are_refused() -> None:
    labels = np.array([[1, 2], [3, 255]], np.uint8)
    check = CheckLabelMap(num_classes=3)
    with pytest.raises(ValueError, match='a.png: label 3 is not below num_classes=3 .*set reduce_zero_label=True'):
        check(dict(gt_seg_map=labels, seg_map_path='a.png', reduce_zero_label=False))
    results = dict(gt_seg_map=labels - (labels < 255), seg_map_path='a.png', reduce_zero_label=True)
    assert check(results) is results


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory, figures: Path, run_mim: Callable[..., str]) -> Path:
    """Train Semantic FPN by ``mim train`` in a folder that holds nothing but the config."""
    folder = tmp_path_factory.mktemp('mmseg')
    changes = FPN | {'default_hooks.logger.interval': 10, 'default_hooks.checkpoint.interval': 60}
    config = reduce(CONFIGS['fpn_uniformer_s_hybrid_ade20k'], knobs(figures, 60), changes, folder)
    assert config.train_cfg.max_iters == 60
    run_mim(['train', 'mmsegmentation', 'fpn_uniformer_s_hybrid_ade20k.py'], folder)
    return folder


def records(folder: Path) -> list[dict[str, float]]:
    (log,) = folder.glob('work_dirs/*/*/vis_data/scalars.json')
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_trains(trained: Path) -> None:
    """The loss falls, and the mIoU is above that of a constant answer."""
    losses = [record['loss'] for record in records(trained) if 'loss' in record]
    assert np.isfinite(losses).all() and losses[-1] < 0.75 * losses[0], losses
    (miou,) = [record['mIoU'] for record in records(trained) if 'mIoU' in record]
    assert miou > MIOU_FLOOR


def test_tests_and_draws(trained: Path, run_mim: Callable[..., str]) -> None:
    name = 'fpn_uniformer_s_hybrid_ade20k'
    checkpoint = trained / f'work_dirs/{name}/iter_60.pth'
    arguments = ['--checkpoint', checkpoint, '--show-dir', 'pictures', '--work-dir', 'tested']
    output = run_mim(['test', 'mmsegmentation', f'{name}.py', *arguments], trained)
    (*_, tested) = re.findall(r'mIoU: ([\d.]+)', output)
    (validated,) = [record['mIoU'] for record in records(trained) if 'mIoU' in record]
    assert float(tested) == pytest.approx(validated, abs=0.02)
    assert len(list(trained.rglob('pictures/**/*.png'))) == 4


def test_upernet_trains_and_takes_a_published_file_with_tta(
    figures: Path, tmp_path: Path, run_mim: Callable[..., str]
) -> None:
    """Two iterations, then ``mim test --tta`` of a file without meta."""
    name = 'upernet_uniformer_s_global_ade20k'
    changes = UPERNET | {'default_hooks.checkpoint.interval': 2}
    reduce(CONFIGS[name], knobs(figures, 2), changes, tmp_path)
    run_mim(['train', 'mmsegmentation', f'{name}.py'], tmp_path)
    state = torch.load(tmp_path / f'work_dirs/{name}/iter_2.pth', weights_only=False)['state_dict']
    torch.save({'state_dict': {f'module.{key}': value for key, value in state.items()}}, tmp_path / 'published.pth')
    output = run_mim(['test', 'mmsegmentation', f'{name}.py', '--checkpoint', 'published.pth', '--tta'], tmp_path)
    assert re.search(r'mIoU: [\d.]+', output)


def test_converted_file_in_init_model_and_inferencer(
    figures: Path, tmp_path: Path, run_python: Callable[..., Any]
) -> None:
    """A published file has no meta; the converted one has the classes, which mmseg's own tools draw."""
    from mmseg.apis import MMSegInferencer, inference_model, init_model

    name = 'upernet_uniformer_s_global_ade20k'
    cfg = reduce(CONFIGS[name], knobs(figures, 2), UPERNET, tmp_path)
    with DefaultScope.overwrite_default_scope('mmseg'):
        state = MODELS.build(cfg.model).state_dict()
    file = {key: filled(key, value.shape) for key, value in state.items()}
    torch.save({'state_dict': file}, tmp_path / 'published.pth')
    command = ['-m', 'vidtx_mm', 'convert', 'published.pth', 'plain.pth', '--config', f'{name}.py']
    done = run_python(command, tmp_path)
    assert done.returncode == 0, done.stdout
    image = str(figures / 'ade/images/validation/00000.jpg')
    model = init_model(str(tmp_path / f'{name}.py'), str(tmp_path / 'plain.pth'), device='cpu')
    assert model.dataset_meta['classes'] == ('ground', 'person', 'ball')
    assert torch.equal(model.state_dict()['decode_head.conv_seg.weight'], file['decode_head.conv_seg.weight'])
    labels = inference_model(model, image).pred_sem_seg.data
    assert labels.shape == (1, 96, 96) and int(labels.max()) < 3
    inferencer = MMSegInferencer(str(tmp_path / f'{name}.py'), str(tmp_path / 'plain.pth'), device='cpu')
    assert np.array_equal(inferencer(image)['predictions'], labels[0].numpy())
