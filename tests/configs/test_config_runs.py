"""Every recognition config trains, validates and tests: two training steps, one of each other, with a reduced model."""

import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from config_families import CONFIGS, DATALOADERS, family, load
from mmengine.config import Config
from mmengine.runner import Runner

CLASSES = 6  # more than five, for the top-5 accuracy
SHRINK = 4  # of frames, sides and crops: the recipe's steps in their order, on less


def shrink(step: dict[str, Any]) -> dict[str, Any]:
    """A transform on fewer frames and pixels."""

    def less(value: Any) -> Any:
        if isinstance(value, float):  # a factor
            return value
        if isinstance(value, int):
            return value if value < 0 else value // SHRINK
        return type(value)(less(entry) for entry in value)

    return {
        key: less(value) if key in ('clip_len', 'scale', 'scale_range', 'size', 'crop_size') else value
        for key, value in step.items()
    }


def two_labels(annotation: Path, folder: Path) -> Path:
    """The list with the label of each line twice."""
    copy = folder / 'two_labels.txt'
    copy.write_text(''.join(f'{line} {line.split()[-1]}\n' for line in annotation.read_text().splitlines()))
    return copy


def reduce(cfg: Config, reduction: Mapping[str, Any], clips: Any, work_dir: Path) -> None:
    """Point a config at the clips and make model, clips and schedule small; nothing else of it changes."""
    cfg.merge_from_dict(deepcopy(dict(reduction)))  # which it changes
    cfg.model.backbone.init_cfg = None
    head, blending = cfg.model.cls_head, cfg.model.data_preprocessor.get('blending')
    classes, annotation = dict(num_classes=CLASSES), clips.train
    if 'class_splits' in head:
        classes, annotation = dict(class_splits=[CLASSES, CLASSES]), two_labels(clips.train, work_dir)
        cfg.val_evaluator.update(classes)
        cfg.test_evaluator.update(classes)
    head.update(classes)
    for augment in blending.get('augments', [blending]) if blending else []:
        augment.num_classes = CLASSES * len(classes.get('class_splits', [CLASSES]))
    for name in DATALOADERS:
        loader, dataset = cfg[name], cfg[name].dataset
        loader.update(batch_size=1 if name == 'test_dataloader' else 2, num_workers=0, persistent_workers=False)
        dataset.update(
            ann_file=str(annotation), data_prefix=dict(video=str(clips.root)), **{'classes': None, **classes}
        )
        dataset.indices = {'train_dataloader': 4, 'val_dataloader': 2, 'test_dataloader': 1}[name]
        dataset.pipeline = [shrink(step) for step in dataset.pipeline]
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = str(work_dir)
    cfg.randomness = dict(seed=0)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_trains_validates_and_tests(path: Path, clips: Any, tmp_path: Path) -> None:
    cfg = load(path)
    reduce(cfg, family(path.stem).reduction, clips, tmp_path)
    runner = Runner.from_cfg(cfg)
    start = {name: value.clone() for name, value in runner.model.named_parameters()}
    runner.train()
    assert runner.iter == 2
    losses = runner.message_hub.get_scalar('train/loss').data[0]
    assert len(losses) == 2 and all(math.isfinite(loss) for loss in losses)
    still = [name for name, value in runner.model.named_parameters() if value.equal(start[name])]
    assert still == []
    metrics = runner.test()
    assert 'class_splits' in cfg.model.cls_head or set(metrics) >= {'acc/top1', 'acc/top5'}
    assert 'num_classes' in cfg.model.cls_head or set(metrics) >= {'acc/action_top1', 'acc/noun_top1', 'acc/verb_top1'}
    assert list(tmp_path.glob('best_*.pth')) and (tmp_path / 'epoch_1.pth').exists()
