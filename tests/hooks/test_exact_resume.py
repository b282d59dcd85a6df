"""A resumed run is the uninterrupted one, to the last digit."""

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import CheckpointLoader, Runner

from vidtx_mm.hooks.exact_resume import SeededDataset

CASES: dict[str, dict[str, Any]] = {
    'at the end of an epoch': dict(step=4),
    'within an epoch': dict(step=5, checkpoint=dict(interval=1, by_epoch=False)),
    'at the last step of an epoch': dict(step=6, checkpoint=dict(interval=3, by_epoch=False)),
    'two steps after the checkpoint': dict(step=6, checkpoint=dict(interval=4, by_epoch=False)),
    'with a best score': dict(step=7, checkpoint=dict(save_best='acc')),
    'with accumulated gradients': dict(step=4, optim_wrapper=dict(accumulative_counts=2)),
    'with an averaged model': dict(
        step=5, checkpoint=dict(interval=2, by_epoch=False), custom_hooks=[dict(type='EMAHook', momentum=0.1)]
    ),
    'with another seed on each process': dict(step=5, randomness=dict(seed=3, diff_rank_seed=True)),
    'counted in steps': dict(
        step=5,
        checkpoint=dict(interval=2, by_epoch=False),
        train_cfg=dict(by_epoch=False, max_iters=9, val_interval=4),
        train_dataloader=toy.loader(2, 4, persistent_workers=True) | dict(sampler=dict(type='InfiniteSampler')),
    ),
}


def interrupted(work_dir: Path, step: int, **settings: Any) -> None:
    """Train until a step, then resume in another Runner."""
    hooks = settings.pop('custom_hooks', [])
    with pytest.raises(toy.Interruption):
        toy.runner(work_dir, custom_hooks=[*hooks, toy.Interrupt(step)], **settings).train()
    toy.runner(work_dir, custom_hooks=hooks, resume=True, **settings).train()


def last_checkpoint(work_dir: Path) -> dict[str, Any]:
    return CheckpointLoader.load_checkpoint((work_dir / 'last_checkpoint').read_text(), logger='silent')


@pytest.mark.parametrize('case', CASES)
def test_curve_and_weights_are_the_same(case: str, tmp_path: Path) -> None:
    settings = dict(CASES[case])
    interrupted(tmp_path / 'parts', **settings)
    del settings['step']
    toy.runner(tmp_path / 'whole', **settings).train()
    assert toy.curve(tmp_path / 'parts') == toy.curve(tmp_path / 'whole')
    found, expected = last_checkpoint(tmp_path / 'parts'), last_checkpoint(tmp_path / 'whole')
    for part in ('state_dict', 'ema_state_dict'):
        assert found.get(part, {}).keys() == expected.get(part, {}).keys()
        assert all(torch.equal(found[part][key], value) for key, value in expected.get(part, {}).items()), part


@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_loss_scale_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed precision whose loss scale grows at every second step, interrupted between two halves of a step."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))
    scale = dict(init_scale=4.0, growth_interval=2)
    amp = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=scale, accumulative_counts=2)
    settings = dict(optim_wrapper=amp, checkpoint=dict(interval=1, by_epoch=False))
    interrupted(tmp_path / 'parts', 5, **settings)
    run = toy.runner(tmp_path / 'whole', **settings)
    run.train()
    assert run.optim_wrapper.loss_scaler.get_scale() > 4
    assert toy.curve(tmp_path / 'parts') == toy.curve(tmp_path / 'whole')
    found, expected = last_checkpoint(tmp_path / 'parts'), last_checkpoint(tmp_path / 'whole')
    assert found['optimizer']['loss_scaler'] == expected['optimizer']['loss_scaler']
    assert all(torch.equal(found['state_dict'][key], value) for key, value in expected['state_dict'].items())


def test_a_seed_that_the_run_chose_itself_is_resumed(tmp_path: Path) -> None:
    interrupted(tmp_path / 'parts', 4, randomness=dict(seed=None))
    seed = last_checkpoint(tmp_path / 'parts')['meta']['seed']
    toy.runner(tmp_path / 'whole', randomness=dict(seed=seed)).train()
    assert toy.curve(tmp_path / 'parts') == toy.curve(tmp_path / 'whole')


def test_curve_is_that_of_any_number_of_workers(tmp_path: Path) -> None:
    toy.runner(tmp_path / 'whole', epochs=2).train()
    interrupted(tmp_path / 'parts', 5, epochs=2, workers=2, checkpoint=dict(interval=2, by_epoch=False))
    assert toy.curve(tmp_path / 'parts') == toy.curve(tmp_path / 'whole')


class Collect(Hook):
    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self.seen.append(data_batch['inputs'][:, 0])


def test_every_epoch_and_sample_is_augmented_anew(tmp_path: Path) -> None:
    collect = Collect()
    toy.runner(tmp_path, workers=2, batch=2, custom_hooks=[collect]).train()
    values = torch.cat(collect.seen)
    assert len(values) == 3 * len(toy.Noisy())
    assert len(values.unique()) == len(values)


def test_data_set_is_reached_through_its_wrapper() -> None:
    """As hooks do that switch a pipeline."""
    dataset = SeededDataset(toy.Noisy())
    dataset.length = 5
    assert len(dataset) == dataset.dataset.length == 5
    assert not hasattr(dataset, '__getitems__')
    assert len(pickle.loads(pickle.dumps(dataset))) == 5


def test_another_batch_size_starts_the_epoch_anew(tmp_path: Path) -> None:
    settings: dict[str, Any] = dict(checkpoint=dict(interval=2, by_epoch=False))
    with pytest.raises(toy.Interruption):
        toy.runner(tmp_path, custom_hooks=[toy.Interrupt(5)], **settings).train()
    run = toy.runner(tmp_path, batch=6, resume=True, **settings)
    run.train()
    assert 'a run of 3 steps an epoch, this one has 2' in toy.log(run)
    assert run.epoch == 3
