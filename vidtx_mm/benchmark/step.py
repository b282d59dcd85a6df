"""Time and peak memory of one training step of a config, on its own data."""

import time
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner

from .complexity import build_on_meta
from .memory import Memory


@dataclass(frozen=True)
class StepCost:
    """Input shape, (B, 3, H, W) or (B, views, 3, T, H, W), seconds, and MiB above the process before the model."""

    shape: tuple[int, ...]
    seconds: float
    peak_mib: float


def measure_step(path: str | Path, options: Mapping[str, Any], device: str = 'cpu', steps: int = 2) -> StepCost:
    """Measure the last of ``steps`` training steps on the first batch of a config's training data.

    The peak holds weights, gradients, the optimizer's state, and everything that the backward pass needs. From the
    second step on it does not change, since the optimizer has its state by then. Weights are random.
    """
    cfg = Config.fromfile(path)
    cfg.merge_from_dict(dict(options))
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        build_on_meta(cfg)  # imports the package of the model
        batch: Any = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
        memory = Memory(device)
        torch.manual_seed(0)
        model = MODELS.build(cfg.model).to(device).train()
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
        for _ in range(steps):
            memory.reset()
            start = time.perf_counter()
            model.train_step(deepcopy(batch), optimizer)
            if memory.cuda:
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
        shape = tuple(model.data_preprocessor(deepcopy(batch), True)['inputs'].shape)
    return StepCost(shape, seconds, memory.peak())
