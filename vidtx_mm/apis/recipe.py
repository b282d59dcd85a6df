"""A recipe for other data: what each preset changes, and the config that says so."""

import os
import re
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from .config_text import replace_header, replace_values, variables
from .folders import Folder

MIRRORED = re.compile(r'left|right|clockwise', re.IGNORECASE)  # classes that a mirror image changes
NEEDED = {'ann_file_train', 'ann_file_val', 'num_classes', 'classes', 'batch_size', 'lr', 'epochs'}


@dataclass(frozen=True)
class Preset:
    """Changes to a recipe for other data.

    Attributes:
        epochs: None for those of the recipe, with its schedule; else warm-up over a tenth of them, then a cosine.
        lr_mult: multiplier of the recipe's rate, besides the scaling to the real batch.
        layer_decay: factor of the rate per layer, from the last to the first.
        ema: whether an average of the weights over the last part of training is validated and saved.
        mixup: whether clips are blended as in the recipe.
        frozen: whether the backbone keeps its weights.
    """

    epochs: int | None
    lr_mult: float = 1.0
    layer_decay: float | None = None
    ema: bool = False
    mixup: bool = False
    frozen: bool = False


PRESETS = {
    'small': Preset(epochs=30, layer_decay=0.75, ema=True),
    'full': Preset(epochs=None, mixup=True),
    'linear': Preset(epochs=20, lr_mult=10.0, frozen=True),
}
FROM_SCRATCH = Preset(epochs=None)  # 'small' without weights to keep


@dataclass(frozen=True)
class Recipe:
    """A config for a folder of videos.

    Attributes:
        file: the config that it is made from, and ``cfg`` its values.
        data: the videos.
        work_dir: where their lists are.
        preset: what changes.
        weights: the file to start from, None for random weights.
        devices: processes, one for each device.
        batch: videos of each device in a step; None for the recipe's.
        epochs: None for the preset's.
        seed: of training.
    """

    file: Path
    cfg: Config
    data: Folder
    work_dir: Path
    preset: Preset
    weights: str | None
    devices: int = 1
    batch: int | None = None
    epochs: int | None = None
    seed: int = 0

    @property
    def batch_size(self) -> int:
        return min(self.batch or self.cfg.batch_size, max(len(self.data.train) // self.devices, 1))

    @property
    def clips_per_step(self) -> int:
        return self.cfg.get('num_repeats', 1) * self.batch_size * self.devices

    @property
    def recipe_step(self) -> int:
        """Clips of a step in the recipe, for which its rate was chosen."""
        return self.cfg.get('clips_per_step', self.cfg.batch_size)

    @property
    def num_epochs(self) -> int:
        return self.epochs or self.preset.epochs or self.cfg.epochs

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return ceil(len(self.data.train) / (self.batch_size * self.devices))

    def scaled(self, rate: float) -> float:
        """A rate of the recipe for the real batch."""
        return float(f'{rate * self.preset.lr_mult * self.clips_per_step / self.recipe_step:.3g}')

    def values(self) -> dict[str, Any]:
        """The variables at the top of the config."""
        lists = self.work_dir / 'data'
        found = dict(
            data_root=str(self.data.root),
            data_root_val=str(self.data.root),
            ann_file_train=str(lists / 'train.txt'),
            ann_file_val=str(lists / 'val.txt'),
            ann_file_test=str(lists / 'val.txt'),
            num_classes=len(self.data.classes),
            classes=str(lists / 'classes.txt'),
            batch_size=self.batch_size,
            gpus=self.devices,
            clips_per_step=self.clips_per_step,
            num_workers=min(self.cfg.num_workers, max((os.cpu_count() or 1) // self.devices, 1)),
            lr=self.scaled(self.cfg.lr),
            epochs=self.num_epochs,
        )
        if 'min_lr' in self.cfg:
            found['min_lr'] = self.scaled(self.cfg.min_lr)
        return found

    def changes(self) -> list[str]:
        """The lines below the body of the config."""
        cfg, preset = self.cfg, self.preset
        lines = [
            f'randomness = dict(seed={self.seed})',
            f"default_hooks['logger']['interval'] = {max(1, min(100, self.steps // 2))}",
        ]
        hooks: list[str] = []
        if self.weights is not None:
            lines += [f'load_from = {self.weights!r}', "model['backbone']['init_cfg'] = None"]
            if not any(hook['type'] == 'vidtx_mm.WeightInflationHook' for hook in cfg.get('custom_hooks', ())):
                hooks.append("dict(type='vidtx_mm.WeightInflationHook')")
        elif loads_weights(cfg):
            lines.append("model['backbone']['init_cfg'] = None  # random weights")
        if preset.frozen:
            lines.append(f"model['backbone']['frozen_stages'] = {num_stages(cfg)}  # all")
        if not preset.mixup and cfg.model.data_preprocessor.get('blending'):
            lines.append("model['data_preprocessor']['blending'] = None  # neither mixup nor cutmix")
        if preset.layer_decay is not None:
            lines.append(f"optim_wrapper['paramwise_cfg']['layer_decay'] = {preset.layer_decay}")
        if torch.cuda.is_available():
            lines.append("optim_wrapper['type'] = 'AmpOptimWrapper'")
        if flips_labels(cfg, self.data.classes):
            lines.append('# A mirror image is another class.')
            lines.append("train_pipeline[:] = [step for step in train_pipeline if step['type'] != 'Flip']")
        if self.num_epochs != cfg.epochs or preset.epochs is not None:
            lines.append(SCHEDULE.format(warmup=min(max(1, round(self.num_epochs / 10)), self.num_epochs / 2)))
        if preset.ema:
            momentum = min(0.1, 20 / (self.num_epochs * self.steps))  # the last twentieth of training
            hooks.append(f"dict(type='EMAHook', momentum={momentum:.2g})")
        if hooks:
            kept = '*custom_hooks, ' if 'custom_hooks' in cfg else ''
            lines.append(f'custom_hooks = [{kept}{", ".join(hooks)}]')
        return lines

    def text(self, config: Path) -> str:
        """The text of the config, to be written to ``config``.

        Raises:
            ValueError: if the recipe lacks variables to change.
        """
        recipe = self.file.read_text(encoding='utf-8')
        known = variables(recipe)
        if missing := NEEDED - known:
            raise ValueError(
                f'{self.file}: has no variable {", ".join(sorted(missing))} at its top; choose one of our configs, '
                'or a copy of one'
            )
        comments = dict(
            batch_size='videos of each device',
            clips_per_step='one batch of each device',
            classes='one name a line',
            lr=f"the recipe's {self.cfg.lr:g} for {self.recipe_step} clips, scaled to {self.clips_per_step}"
            + (f' and times {self.preset.lr_mult:g}' if self.preset.lr_mult != 1 else ''),
        )
        header = [
            f'{self.file.stem} on the videos of {self.data.root.name}: {len(self.data.classes)} classes.',
            '',
            f'Data: {len(self.data.train)} videos to train and {len(self.data.val)} to validate, in {self.data.root}.',
            f'Recipe: {self.file.name} of vidtx_mm, starting from {self.weights or "random weights"}.',
            f'Command: mim train mmaction {config} --work-dir {self.work_dir}',
            '    Without openmim: vidtx train, with the same arguments.',
            'Written by vidtx finetune, to be edited: variables first, the changes to the recipe at the end.',
        ]
        values = {name: value for name, value in self.values().items() if name in known}
        body = replace_header(replace_values(recipe, values, comments), header)
        return '\n'.join([body, '# Changes to the recipe for these videos.', *self.changes()]) + '\n'


SCHEDULE = """\
warmup = {warmup}  # epochs
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=epochs - warmup,
        eta_min=lr / 100,
        by_epoch=True,
        begin=warmup,
        end=epochs,
        convert_to_iter_based=True,
    ),
]"""


def loads_weights(cfg: Config) -> bool:
    """Return whether the recipe's backbone starts from a file of weights."""
    init = cfg.model.backbone.get('init_cfg') or []
    return any('FromPretrained' in one['type'] for one in (init if isinstance(init, list) else [init]))


def num_stages(cfg: Config) -> int:
    """The number of stages that ``frozen_stages`` counts."""
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')), torch.device('meta'):
        return len(MODELS.build({**cfg.model.backbone, 'init_cfg': None}).stage_modules()) - 1


def flips_labels(cfg: Config, classes: tuple[str, ...]) -> bool:
    """Return whether the recipe mirrors clips whose class a mirror changes, or maps labels of its own classes."""
    flips = [step for step in cfg.train_dataloader.dataset.pipeline if step['type'] == 'Flip']
    mapped = any(step.get('flip_label_map') for step in flips)
    return bool(flips) and (mapped or any(map(MIRRORED.search, classes)))
