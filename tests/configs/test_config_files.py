"""Every recognition config on its own and beside its family, without data and without weights."""

import ast
from pathlib import Path

import pytest
from config_families import ABSENT, CONFIGS, DATALOADERS, KNOBS, differing_words, family, flat, load, words

import vidtx_mm  # noqa: F401
from vidtx_mm.benchmark.complexity import build_on_meta, count_config

every_config = pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)

SIDED = [path for path in CONFIGS if path.stem.endswith(('_ssv1', '_ssv2'))]


def test_the_families_cover_all_configs() -> None:
    assert CONFIGS
    published = {name for path in CONFIGS for name in family(path.stem).published}
    assert published == {path.stem for path in CONFIGS}


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


@every_config
def test_name_equals_content(path: Path) -> None:
    cfg = load(path)
    values = flat(cfg.to_dict())
    assert cfg.model.backbone.type == family(path.stem).backbone
    for word in words(path.stem):
        for key, fact in word.facts.items():
            value = values.get(key, ABSENT)
            assert fact(value) if callable(fact) else value == fact, f'{path.stem}: {key} is {value!r}'
    assert Path(cfg.checkpoint).name == family(path.stem).published[path.stem].checkpoint


@every_config
def test_it_differs_from_its_family_only_as_the_names_do(path: Path) -> None:
    mine = flat(load(path).to_dict())
    for other in CONFIGS:
        if family(other.stem) is not family(path.stem):
            continue
        theirs = flat(load(other).to_dict())
        different = {key for key in mine | theirs if mine.get(key, ABSENT) != theirs.get(key, ABSENT)}
        declared = differing_words(path.stem, other.stem)
        undeclared = {key for key in different if not any(word.may_change(key) for word in declared)}
        assert undeclared == set(), f'{path.stem} and {other.stem}'


@every_config
def test_every_knob_at_the_top_works(path: Path, tmp_path: Path) -> None:
    tree = ast.parse(path.read_text())
    assigned = {node.targets[0].id: node for node in tree.body if isinstance(node, ast.Assign)}
    assert set(KNOBS) <= set(assigned)
    first_dict = next(node.lineno for node in assigned.values() if node.targets[0].id == 'model')
    for knob in KNOBS:
        assert assigned[knob].lineno < first_dict, f'{knob} does not stand at the top'
        assigned[knob].value = ast.Constant(sentinel(knob))
    copy = tmp_path / path.name
    copy.write_text(ast.unparse(tree))
    used = [value for key, value in flat(load(copy).to_dict()).items() if key not in KNOBS]
    used += [step[key] for step in load(copy).param_scheduler for key in step]
    for knob in KNOBS:
        assert sentinel(knob) in used, f'{knob} changes nothing'


def sentinel(knob: str) -> str | int:
    """A value that stands nowhere else in a config."""
    number = 900_001 + KNOBS.index(knob)
    return f'<{knob}>' if knob.startswith(('data', 'ann', 'checkpoint')) else number


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
    assert cfg.auto_scale_lr.base_batch_size and not cfg.auto_scale_lr.enable


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
    """What ``--cfg-options`` does: depths alone, and no file of weights."""
    cfg = load(path)
    arch = cfg.model.backbone.arch
    shallow = {'depths': [1] * len(arch.depths)} if 'depths' in arch else {'depth': 1}
    cfg.merge_from_dict({'model.backbone.arch': shallow, 'model.backbone.init_cfg': None})
    reduced, whole = build_on_meta(cfg), build_on_meta(load(path))
    assert reduced.backbone.init_cfg is None
    assert sum(p.numel() for p in reduced.parameters()) < sum(p.numel() for p in whole.parameters())
