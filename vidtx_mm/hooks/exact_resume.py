"""``dict(type='vidtx_mm.ExactResumeHook')``: a resumed run is the uninterrupted one, to the last digit on the CPU."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmengine.dist import broadcast_object_list, get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import Dataset

from ..registry import HOOKS

_STEP, _SAMPLE = 0, 1  # keep the two streams of seeds apart


def seed_all(*entropy: int) -> None:
    """Seed the generators of Python, NumPy and torch (CPU and CUDA) from a few whole numbers."""
    first, second, third = np.random.SeedSequence(entropy).generate_state(3).tolist()
    random.seed(first)
    np.random.seed(second)
    torch.manual_seed(third)


class SeededDataset(Dataset):
    """Seed all generators for each sample, by the seed that comes with its index."""

    def __init__(self, dataset: Any) -> None:
        self.__dict__['dataset'] = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, drawn: tuple[int, tuple[int, ...]]) -> Any:
        index, seed = drawn
        seed_all(*seed)
        return self.dataset[index]

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.dataset, name, value)


class SeededBatches:
    """Batches of (index, seed) from a batch sampler; the first pass leaves out what was seen before the interruption.

    Args:
        batch_sampler: yields lists of indices.
        seed: the run's seed and the process's rank.
        start: the number of batches in all earlier passes.
        skip: the number of batches seen of the current pass.
    """

    def __init__(self, batch_sampler: Any, seed: tuple[int, int], start: int, skip: int) -> None:
        self.batch_sampler = batch_sampler
        self.seed = seed
        self.start = start
        self.skip = self.skipped = skip

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[list[tuple[int, tuple[int, ...]]]]:
        self.skipped, self.skip = self.skip, 0
        for position, batch in enumerate(self.batch_sampler):
            if position >= self.skipped:
                step = self.start + position
                yield [(index, (*self.seed, _SAMPLE, step, place)) for place, index in enumerate(batch)]
        self.start += len(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        return getattr(self.batch_sampler, name)


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Make the random numbers of a run depend on its seed, the step and the process alone.

    The generators of Python, NumPy and torch are seeded for every step, and for every sample in the process that loads
    it. So a checkpoint needs to hold nothing but the seed, and a resumed run draws what the uninterrupted one would
    have drawn, whatever ``num_workers`` is. A checkpoint from within an epoch (``by_epoch=False``) resumes within it:
    batches that were seen are left out unread. Gradients that were accumulated for a step to come are saved too.

    A run of another number of processes, another batch size or other data continues with other random numbers.
    """

    priority = 'VERY_LOW'  # nothing else draws between the seed of a step and the step

    def __init__(self) -> None:
        self._checkpoint: dict[str, Any] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        gradients = checkpoint.pop('gradients', {})
        if runner._resume:
            self._checkpoint = dict(gradients=gradients, batches=checkpoint['meta'].get('batches_per_epoch'))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['batches_per_epoch'] = len(runner.train_dataloader)
        if not runner.distributed and not runner.optim_wrapper.should_update():
            named = runner.model.named_parameters()
            checkpoint['gradients'] = {name: p.grad.cpu() for name, p in named if p.grad is not None}

    def before_train(self, runner: Runner) -> None:
        loop, loader = runner.train_loop, runner.train_loop.dataloader
        seed = [runner.seed]
        broadcast_object_list(seed)
        self._seed = seed[0], get_rank()
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        if hasattr(sampler, 'seed'):
            sampler.seed = seed[0]
        skip = self._seen_of_epoch(runner)
        start = loop.iter - skip if isinstance(loop, EpochBasedTrainLoop) else 0
        batches = SeededBatches(loader.batch_sampler, self._seed, start, skip)
        object.__setattr__(loader, 'batch_sampler', batches)  # DataLoader locks these two
        object.__setattr__(loader, 'dataset', SeededDataset(loader.dataset))
        if isinstance(loop, EpochBasedTrainLoop):
            run_iter = loop.run_iter
            loop.run_iter = lambda idx, data_batch: run_iter(idx + batches.skipped, data_batch)
        elif isinstance(loop, IterBasedTrainLoop):  # has its iterator already, without the two
            if hasattr(sampler, '_indices_of_rank'):
                sampler.indices = sampler._indices_of_rank()
            loader._iterator = None  # and no persistent workers that have the old ones
            loop.dataloader_iterator = type(loop.dataloader_iterator)(loader)
        for name, gradient in self._checkpoint.get('gradients', {}).items():
            parameter = runner.model.get_parameter(name)
            parameter.grad = gradient.to(parameter)
        self._checkpoint = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        seed_all(*self._seed, _STEP, runner.iter)

    def _seen_of_epoch(self, runner: Runner) -> int:
        """The number of batches of the current epoch that came before the checkpoint."""
        batches, now = self._checkpoint.get('batches'), len(runner.train_dataloader)
        if not isinstance(runner.train_loop, EpochBasedTrainLoop) or batches is None:
            return 0
        if batches != now:
            runner.logger.warning(
                f'The checkpoint is from a run of {batches} steps an epoch, this one has {now}: epoch '
                f'{runner.epoch + 1} starts from its beginning, with other random numbers'
            )
            return 0
        return runner.iter - runner.epoch * now
