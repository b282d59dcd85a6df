"""A trained recognizer with its test pipelines and class names, ready to score videos."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from vidtx_mm.weights import CheckpointError, adapt, open_checkpoint

from .configs import find_config
from .models import choose_classes, head_at_init
from .zoo import find_checkpoint, published

VIEWS = {'test': 'test_dataloader', 'one': 'val_dataloader'}


@dataclass
class Recognizer:
    """A recognizer in evaluation mode.

    Attributes:
        cfg: its config.
        model: MMAction2's recognizer, on its device.
        classes: the class names by index; the index itself where no names are known.
        checkpoint: the file or address of its weights.
    """

    cfg: Config
    model: nn.Module
    classes: tuple[str, ...]
    checkpoint: str

    def pipeline(self, views: str = 'test') -> Compose:
        """Build the transforms of the config's tests: 'test' with all views, 'one' with the one of validation."""
        with DefaultScope.overwrite_default_scope(self.cfg.get('default_scope', 'mmaction')):
            return Compose(pipeline_steps(self.cfg, views))

    @torch.no_grad()
    def score(self, samples: Sequence[dict]) -> np.ndarray:
        """Score what a pipeline returned for some videos: (videos, classes), averaged over the views as in tests."""
        results = self.model.test_step(pseudo_collate(list(samples)))  # type: ignore[operator]
        return torch.stack([result.pred_score for result in results]).cpu().numpy()

    @property
    def splits(self) -> list[int]:
        """The number of classes of each label set; most heads have one."""
        return list(getattr(self.model.cls_head, 'class_splits', [len(self.classes)]))

    def probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Turn scores (classes,) into probabilities, where the head averages its views before the softmax."""
        head: Any = self.model.cls_head
        if head.average_clips == 'prob' or head.multi_class:
            return scores
        return torch.cat([part.softmax(0) for part in torch.from_numpy(scores).split(self.splits)]).numpy()


def load_recognizer(
    config: str | Path | None = None,
    checkpoint: str | Path | None = None,
    run: str | Path | None = None,
    device: str = 'auto',
    cfg_options: Mapping[str, Any] | None = None,
) -> Recognizer:
    """Build a config's recognizer and load its weights, strictly.

    Args:
        config: name or file of a config.
        checkpoint: a file, a web address or a weights id; by default what is published for the config.
        run: the work dir of a run, in place of both: its config and its best checkpoint, else its last.
        device: as for torch, or 'auto' for a GPU where there is one.
        cfg_options: changes to the config.

    Raises:
        ValueError: if an argument is unknown, or CUDA is asked for and absent.
        CheckpointError: if the checkpoint does not fit, or leaves the classifier at its initialization.
    """
    if (config is None) == (run is None):
        raise ValueError('give a config or the work dir of a run, not both: --config NAME or --run work_dirs/NAME')
    if run is not None:
        config, best = find_run(Path(run))
        checkpoint = checkpoint or best
    assert config is not None
    place = find_device(device)
    file = find_config(config)
    if checkpoint is None:
        found = published(file.stem)
        if found is None:
            raise ValueError(f'{file.stem} has no published weights with an address: give --checkpoint FILE')
        checkpoint = found.url
    weights = find_checkpoint(checkpoint)
    cfg = Config.fromfile(file)
    cfg.merge_from_dict(dict(cfg_options or {}))
    if 'cls_head' not in cfg.model:
        raise ValueError(f'{file}: its model is no recognizer of clips: use the package of its task')
    for views in VIEWS:
        pipeline_steps(cfg, views)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        model = MODELS.build(cfg.model)
    opened = open_checkpoint(weights)
    state_dict, report = adapt(opened, model)
    if head_at_init(report):
        raise CheckpointError(
            f'{opened.name} has no classifier for the {model.cls_head.num_classes} classes of {file.name}: its scores '
            'would be random. Give a checkpoint that was trained on these classes, or the config of the checkpoint'
        )
    model.load_state_dict({**model.state_dict(), **state_dict})
    count = model.cls_head.num_classes
    classes = choose_classes(cfg, count, opened.classes) or tuple(map(str, range(count)))
    return Recognizer(cfg, model.to(place).eval(), classes, opened.name)


def pipeline_steps(cfg: Config, views: str) -> list[dict]:
    """The transforms of a config's tests, 'test' or 'one'.

    Raises:
        ValueError: if the config has none.
    """
    if views not in VIEWS:
        raise ValueError(f'views={views!r}: choose one of {", ".join(map(repr, VIEWS))}')
    steps = (cfg.get(VIEWS[views]) or {}).get('dataset', {}).get('pipeline')
    if not steps:
        raise ValueError(
            f'{cfg.filename}: has no {VIEWS[views]}.dataset.pipeline, which says how clips are cut: add one'
        )
    return steps


def feature_map(output: Any) -> torch.Tensor:
    """Return the map of a backbone that also returns a class token."""
    return output[0] if isinstance(output, tuple) else output


def find_device(device: str) -> torch.device:
    """A torch device; 'auto' is a GPU where there is one.

    Raises:
        ValueError: if it is unknown or absent.
    """
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device {device!r} is unknown: give 'auto', 'cpu' or 'cuda'") from error
    if found.type == 'cuda' and not torch.cuda.is_available():
        raise ValueError(f'device {device!r} is asked for, but torch {torch.__version__} sees no GPU: use --device cpu')
    return found


def find_run(work_dir: Path) -> tuple[Path, Path]:
    """The config and the best checkpoint (else the last) of a run.

    Raises:
        FileNotFoundError: if the folder lacks one of them.
    """
    configs = sorted(work_dir.glob('*.py'), key=lambda file: file.stat().st_mtime)
    if not configs:
        raise FileNotFoundError(f'{work_dir} holds no config: give the work dir of a training run')
    best = sorted(work_dir.glob('best_*.pth'), key=lambda file: file.stat().st_mtime)
    last = sorted(work_dir.glob('*.pth'), key=lambda file: [int(n) for n in re.findall(r'\d+', file.stem)] or [0])
    if not last:
        raise FileNotFoundError(f'{work_dir} holds no checkpoint (*.pth): its training has not saved one yet')
    return configs[-1], (best or last)[-1]
