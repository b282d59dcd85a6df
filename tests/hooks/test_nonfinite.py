"""A loss, gradient or weight that is not finite stops a run, with one message."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import Tensor

from vidtx_mm.hooks.nonfinite import NonFiniteError, NonFiniteGuard, _listed, _plain


class Poison(Hook):
    """Make one value of the model or of a batch NaN before a step."""

    def __init__(self, step: int, what: str, last: int | None = None) -> None:
        self.steps = range(step, (last or step) + 1)
        self.what = what

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        poisoned = runner.iter + 1 in self.steps
        if self.what == 'input' and poisoned:
            data_batch['inputs'][1, 3] = torch.nan
        elif self.what == 'module':
            runner.model.poisoned = poisoned
        elif self.what == 'weight' and poisoned:
            runner.model.fc.weight.data[0, 0] = torch.inf
        elif self.what == 'gradient' and poisoned:
            handle = runner.model.fc.bias.register_hook(lambda grad: handle.remove() or grad * torch.inf)


class Sick(toy.Toy):
    poisoned = False

    def forward(self, inputs: Tensor, label: Tensor, mode: str = 'loss') -> Any:
        if self.poisoned:
            self.norm.eps = torch.nan
        outputs = super().forward(inputs, label, mode)
        self.norm.eps = 1e-5
        return outputs


def train(work_dir: Path, *hooks: Any, **settings: Any) -> Runner:
    run = toy.runner(work_dir, custom_hooks=list(hooks), **settings)
    run.train()
    return run


@pytest.mark.parametrize(
    ('what', 'cause', 'first'),
    [
        ('input', 'The loss is nan', 'the input, after the data preprocessor'),
        ('module', 'The loss is nan', 'the output of norm'),
        ('weight', 'The loss is (nan|inf)', 'the parameter fc.weight'),
        (
            'gradient',
            'The gradient norm is (nan|inf)',
            'the gradients; outputs and loss of a second forward',
        ),
    ],
)
def test_step_7_stops_at_step_7(what: str, cause: str, first: str, tmp_path: Path) -> None:
    run = toy.runner(tmp_path, model=Sick(), custom_hooks=[dict(type='vidtx_mm.NonFiniteGuard'), Poison(7, what)])
    with pytest.raises(NonFiniteError) as error:
        run.train()
    message = str(error.value)
    assert re.match(cause, message) and 'at epoch 3, step 7 (1 of this epoch), before the optimizer step' in message
    assert f'First not finite: {first}' in message
    assert pytest.approx(float(message.split('Learning rate: ')[1].split('. ')[0]), rel=1e-3) == 0.0025
    assert len(toy.curve(tmp_path)) == 6
    assert {float(state['step']) for state in run.optim_wrapper.optimizer.state.values()} == {6.0}
    batch = torch.load(tmp_path / 'nonfinite_batch0.pth', weights_only=True)
    assert batch['inputs'].shape == (4, 8)
    assert bool(batch['inputs'].isfinite().all()) == (what != 'input')


def test_second_forward_draws_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves BatchNorm's statistics alone."""
    guard = NonFiniteGuard()
    run = toy.runner(tmp_path, custom_hooks=[guard, Poison(7, 'gradient')])
    losses: list[Any] = []
    original = toy.Toy.forward

    def forward(self: toy.Toy, *args: Any, **kwargs: Any) -> Any:
        outputs = original(self, *args, **kwargs)
        losses.append(outputs)
        return outputs

    monkeypatch.setattr(toy.Toy, 'forward', forward)
    with pytest.raises(NonFiniteError):
        run.train()
    assert float(losses[-1]['loss']) == float(losses[-2]['loss'])
    assert int(run.model.norm.num_batches_tracked) == 7


@pytest.mark.filterwarnings('error:Seems like .optimizer.step')
def test_max_skips(tmp_path: Path) -> None:
    guard = NonFiniteGuard(max_skips=2)
    run = train(tmp_path / 'two', guard, Poison(4, 'input', 5))
    assert run.epoch == 3 and guard.skipped == 2
    assert 'The loss is nan at epoch 2, step 4: step left out (1 of 2)' in toy.log(run)
    assert all(value.isfinite().all() for value in run.model.state_dict().values())
    assert {float(state['step']) for state in run.optim_wrapper.optimizer.state.values()} == {7.0}
    with pytest.raises(NonFiniteError, match='step 6'):
        train(tmp_path / 'three', NonFiniteGuard(max_skips=2), Poison(4, 'input', 6))


def test_accumulated_gradients(tmp_path: Path) -> None:
    """The first half of a step is as bad as the second, and its batch is the one that is blamed."""
    with pytest.raises(NonFiniteError, match='step 3 '):
        train(tmp_path, NonFiniteGuard(), Poison(3, 'input'), optim_wrapper=dict(accumulative_counts=2))


@pytest.mark.filterwarnings('ignore::FutureWarning')
def test_loss_scaler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its skipped steps are counted and named; twenty in a row stop the run."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))
    amp = dict(type='AmpOptimWrapper', dtype='bfloat16')
    guard = NonFiniteGuard()
    run = train(tmp_path / 'some', guard, Poison(4, 'input', 5), optim_wrapper=amp)
    assert guard.skipped == 2
    assert 'Loss scaler: step skipped at epoch 2, step 5 (loss scale 32768; 2 so far in this run)' in toy.log(run)
    with pytest.raises(NonFiniteError, match='20 steps in a row; the last at epoch 8, step 23 .*Loss scale: 0.0'):
        train(tmp_path / 'all', NonFiniteGuard(), Poison(4, 'input', 99), optim_wrapper=amp, epochs=9)


def test_no_checkpoint_of_broken_weights(tmp_path: Path) -> None:
    class Break(Hook):
        def after_train_epoch(self, runner: Runner) -> None:
            runner.model.norm.running_mean[0] = torch.nan if runner.epoch == 1 else 0

    with pytest.raises(NonFiniteError, match=r'epoch 2.* not written: 1 .*\(norm.running_mean\)'):
        train(tmp_path, NonFiniteGuard(), Break())
    assert [path.name for path in tmp_path.glob('*.pth')] == ['epoch_1.pth']


def test_files_are_named() -> None:
    samples = [BaseDataElement(metainfo=dict(filename=name)) for name in ('a.mp4', 'b.mp4')]
    assert _listed(dict(inputs=[], data_samples=samples)) == 'a.mp4, b.mp4'
    assert _plain(dict(data_samples=samples)) == dict(data_samples=[dict(filename='a.mp4'), dict(filename='b.mp4')])
