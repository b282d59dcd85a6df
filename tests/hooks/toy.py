"""A run of a second in which everything draws random numbers."""

import itertools
import os
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import Tensor, nn

import vidtx_mm  # noqa: F401

RUNS = itertools.count()


class Noisy(torch.utils.data.Dataset):
    """Vectors of two classes, augmented by the generators of Python, NumPy and torch."""

    def __init__(self, length: int = 12) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        x = torch.full((8,), float(index)) * random.uniform(0.9, 1.1) + torch.randn(8)
        return dict(inputs=x * float(np.random.choice([-1.0, 1.0])), label=index % 2)


class Toy(BaseModel):
    """Two linear layers with drop path, BatchNorm and mixup."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.fc = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)

    def forward(self, inputs: Tensor, label: Tensor, mode: str = 'loss') -> Any:
        x = self.norm(self.stem(inputs))
        if mode == 'predict':
            return [dict(score=float(score)) for score in self.fc(x)[:, 0]]
        portion = float(np.random.beta(0.8, 0.8))
        order = torch.randperm(len(x))
        keep = (torch.rand(len(x), 1) > 0.2).float()
        logits = self.fc(portion * x + (1 - portion) * x[order] * keep)
        loss = nn.functional.cross_entropy(logits, label, reduction='none')
        return dict(loss=portion * loss.mean() + (1 - portion) * loss[order].mean())


class Curve(Hook):
    """Append the loss of every step, to the last digit, to <work_dir>/curve<process>.txt."""

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        with (Path(runner.work_dir) / f'curve{runner.rank}.txt').open('a') as file:
            file.write(f'{runner.epoch} {batch_idx} {runner.iter} {float(outputs["loss"]).hex()}\n')


class Interruption(Exception):
    """Raised in the midst of a run."""


class Interrupt(Hook):
    """End the run before a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.step:
            raise Interruption


class Mean(BaseMetric):
    """A score of validation that draws random numbers."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [sample['score'] for sample in data_samples]

    def compute_metrics(self, results: list) -> dict[str, float]:
        return dict(acc=float(np.mean(results)) + random.random() + float(torch.rand(())))


def loader(workers: int, batch: int, shuffle: bool = True, **settings: Any) -> dict[str, Any]:
    return dict(
        dataset=Noisy(),
        sampler=dict(type='DefaultSampler', shuffle=shuffle),
        collate_fn=dict(type='default_collate'),
        batch_size=batch,
        num_workers=workers,
        **settings,
    )


def runner(
    work_dir: Path, epochs: int = 3, workers: int = 0, batch: int = 4, checkpoint: Any = None, **settings: Any
) -> Runner:
    """Three epochs of three steps, each validated; always the same start."""
    torch.manual_seed(0)
    hooks = dict(checkpoint=dict(type='vidtx_mm.SafeCheckpointHook', interval=1) | (checkpoint or {}))
    custom = [dict(type='vidtx_mm.ExactResumeHook'), Curve(), *settings.pop('custom_hooks', [])]
    optim = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.01)) | settings.pop('optim_wrapper', {})
    defaults = dict(
        model=Toy(),
        train_dataloader=loader(workers, batch, persistent_workers=workers > 0),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_dataloader=loader(0, 4, shuffle=False),
        val_cfg=dict(),
        val_evaluator=Evaluator(Mean()),
        param_scheduler=dict(type='CosineAnnealingLR', by_epoch=True, T_max=epochs, convert_to_iter_based=True),
        randomness=dict(seed=1),
        experiment_name=f'toy {next(RUNS)}',
        env_cfg=dict(dist_cfg=dict(backend='gloo')),
        log_level='WARNING',
    )
    run = Runner(
        work_dir=str(work_dir),
        optim_wrapper=optim,
        default_hooks=hooks,
        custom_hooks=custom,
        **(defaults | settings),
    )
    torch.seed()  # a process that resumes starts anywhere
    return run


def curve(work_dir: Path, rank: int = 0) -> dict[int, str]:
    """Step -> what a run, or a run and its resumption, last wrote about it."""
    lines = (work_dir / f'curve{rank}.txt').read_text().splitlines()
    return {int(line.split()[2]): line for line in lines}


def log(run: Runner) -> str:
    """Everything that a run has logged."""
    (file,) = Path(run.log_dir).glob('*.log')
    return file.read_text()


def child(work_dir: Path, rank: int = 0, port: int = 0, write_seconds: float = 0.0, **settings: Any) -> None:
    """A run for a process of its own, alone or one of two; ``started`` in the work dir tells when training begins."""
    torch.set_num_threads(1)
    if port:
        env = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=2, MASTER_ADDR='localhost', MASTER_PORT=port)
        os.environ.update({name: str(value) for name, value in env.items()})
        settings['launcher'] = 'pytorch'
    if write_seconds:
        os.fsync = lambda descriptor: time.sleep(write_seconds)  # holds on within the write of a checkpoint
    run = runner(work_dir, **settings)
    Path(work_dir, 'started').touch()
    run.train()
