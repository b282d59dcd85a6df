"""Every recognition config on its own and beside its family, without data and without weights."""

import ast
import re
from pathlib import Path

import mmengine.optim  # noqa: F401  registers the schedulers
import pytest
import torch
from config_families import ABSENT, CONFIG_DIR, CONFIGS, DATALOADERS, FAMILIES, KNOBS, facts, family, flat, load
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS
from resolved import groups, resolved, unused, variables

import vidtx_mm  # noqa: F401
from vidtx_mm.benchmark.complexity import build_on_meta, count_config

every_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
one_of_a_group = pytest.mark.parametrize('path', [paths[0] for paths in groups().values()], ids=lambda path: path.stem)

SIDED = [path for path in CONFIGS if path.stem.endswith(('_ssv1', '_ssv2'))]


def test_each_config_is_published() -> None:
    """A config without figures, and figures without a config."""
    stems = {path.stem for path in CONFIGS}
    published = {name for one in FAMILIES.values() for name in one.published}
    assert stems, f'no configs in {CONFIG_DIR}'
    assert not stems - published, (
        f'add the parameters of {sorted(stems - published)} to their family in tests/configs/config_families.py'
    )
    assert not published - stems, f'tests/configs/config_families.py has no config for {sorted(published - stems)}'


@every_config
def test_header_and_base(path: Path) -> None:
    text = path.read_text()
    header = ast.get_docstring(ast.parse(text))
    assert header and all(f'\n{part}: ' in header for part in ('Recipe', 'Published', 'Command'))
    assert f'mim train mmaction {path.name}' in header
    assert "\n_base_ = 'mmaction::_base_/default_runtime.py'\n" in text


@every_config
def test_copied_alone_it_is_the_same(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_text(path.read_text())
    assert load(copy).to_dict() == load(path).to_dict()


@one_of_a_group
def test_dumped_it_is_the_same(path: Path, tmp_path: Path) -> None:
    """As a run writes it into its work dir."""
    dumped = tmp_path / path.name
    load(path).dump(dumped)
    assert resolved(dumped) == resolved(path)


@one_of_a_group
def test_an_option_reaches_one_data_loader(path: Path) -> None:
    """Data loaders and pipelines are built from each other, yet stand on their own."""
    cfg, before = load(path), load(path)
    cfg.merge_from_dict({'train_dataloader.batch_size': 3, 'val_dataloader.dataset.pipeline.1.clip_len': 5})
    assert cfg.train_dataloader.batch_size == 3 and cfg.val_dataloader.dataset.pipeline[1].clip_len == 5
    assert cfg.test_dataloader == before.test_dataloader
    assert cfg.val_dataloader.batch_size == before.val_dataloader.batch_size
    assert cfg.train_dataloader.dataset == before.train_dataloader.dataset


@every_config
def test_name_equals_content(path: Path) -> None:
    cfg = load(path)
    values = flat(cfg.to_dict())
    assert cfg.model.backbone.type == family(path.stem).backbone
    for key, fact in facts(path.stem).items():
        value = values.get(key, ABSENT)
        assert fact(value) if callable(fact) else value == fact, f'{path.stem}: {key} is {value!r}'
    assert Path(cfg.checkpoint).name == family(path.stem).published[path.stem].checkpoint


@every_config
def test_every_variable_at_the_top_works(path: Path) -> None:
    assert set(KNOBS) <= set(variables(path))
    assert unused(path) == []


@every_config
def test_all_parts_exist(path: Path) -> None:
    cfg = load(path)
    assert cfg.custom_imports == dict(imports=['vidtx_mm'], allow_failed_imports=False)
    for loader, test_mode in zip(DATALOADERS, (False, True, True), strict=True):
        dataset = cfg[loader].dataset
        assert dataset.get('test_mode', False) is test_mode
        classes = 'class_splits' if 'class_splits' in cfg.model.cls_head else 'num_classes'
        assert dataset[classes] == cfg.model.cls_head[classes]
        sampling = [step for step in dataset.pipeline if 'clip_len' in step]
        assert [step.get('test_mode', False) for step in sampling] == [test_mode]
    for part in ('train_cfg', 'val_cfg', 'test_cfg', 'val_evaluator', 'test_evaluator', 'optim_wrapper'):
        assert cfg[part]
    assert cfg.default_hooks.checkpoint.save_best == 'auto' and cfg.default_hooks.checkpoint.max_keep_ckpts
    assert not cfg.auto_scale_lr.enable
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline  # MMAction2's inferencers read the first


@every_config
def test_a_step_takes_what_the_recipe_says(path: Path) -> None:
    """GPUs x batch x repeats x accumulation; --auto-scale-lr sees GPUs x batch alone and changes nothing."""
    cfg = load(path)
    batch = cfg.gpus * cfg.train_dataloader.batch_size
    repeats = cfg.train_dataloader.dataset.get('num_repeats', 1)
    assert batch * repeats * cfg.optim_wrapper.accumulative_counts == cfg.clips_per_step
    assert cfg.auto_scale_lr.base_batch_size == batch


@one_of_a_group
def test_a_step_is_the_same_on_other_numbers_of_gpus(path: Path) -> None:
    published, cfg = load(path), load(path)
    cfg.merge_from_dict(dict(gpus=2))  # --cfg-options gpus=2
    accumulated = published.gpus // 2 * published.optim_wrapper.accumulative_counts
    assert cfg.optim_wrapper.accumulative_counts == accumulated
    assert cfg.auto_scale_lr.base_batch_size == 2 * cfg.train_dataloader.batch_size
    assert cfg.optim_wrapper.optimizer == published.optim_wrapper.optimizer


@pytest.mark.parametrize('epochs', [1, 2, 3, 11])
@one_of_a_group
def test_schedules_of_any_number_of_epochs(path: Path, epochs: int, tmp_path: Path) -> None:
    copy = tmp_path / path.name
    copy.write_text(re.sub(r'^epochs = \d+$', f'epochs = {epochs}', path.read_text(), flags=re.MULTILINE))
    cfg = Config.fromfile(copy)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(part, optimizer=optimizer, epoch_length=4)) for part in cfg.param_scheduler
    ]
    assert cfg.train_cfg.max_epochs == epochs
    rates = []
    for step in range(4 * epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or step % 4 == 3:
                scheduler.step()
    assert all(0 < rate <= cfg.lr * (1 + 1e-6) for rate in rates)


@pytest.mark.parametrize('path', SIDED, ids=lambda path: path.stem)
def test_sides_that_classes_name_are_never_mirrored(path: Path) -> None:
    """Something-Something's classes tell left from right: a mirrored clip needs its mirrored label."""
    cfg = load(path)
    steps = [step for loader in DATALOADERS for step in cfg[loader].dataset.pipeline]
    flips = [step for step in steps if 'flip' in step['type'].lower() and step.get('flip_ratio', 0.5) > 0]
    assert all(step.get('flip_label_map') for step in flips)


@every_config
def test_parameters_and_multiply_adds_are_the_published_ones(path: Path) -> None:
    published = family(path.stem).published[path.stem]
    counted = count_config(load(path))
    assert counted.parameters == published.parameters
    if published.gmacs is not None:
        assert counted.macs / 1e9 == pytest.approx(published.gmacs, rel=0.01)


@every_config
def test_model_options_from_the_command_line(path: Path) -> None:
    """``--cfg-options`` replaces the arch and leaves out the file of weights."""
    cfg = load(path)
    arch = family(path.stem).reduction['model.backbone.arch']
    options = {f'model.backbone.arch.{key}': value for key, value in arch.items()}
    options['model.cls_head.in_channels'] = family(path.stem).reduction['model.cls_head.in_channels']
    cfg.merge_from_dict({**options, 'model.backbone.init_cfg': None})
    reduced, whole = build_on_meta(cfg), build_on_meta(load(path))
    assert reduced.backbone.init_cfg is None
    assert sum(p.numel() for p in reduced.parameters()) < sum(p.numel() for p in whole.parameters())
