"""``dict(type='vidtx_mm.PreflightHook')``: one table about a run, and the errors in it, before its first step."""

from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from ..registry import HOOKS
from .preflight_checks import CHECKS, Finding

MEASURED_STEPS = 50
WAIT_SHARE = 0.2  # of the time of a step


class PreflightError(ValueError):
    """The run cannot go well; the message lists the reasons."""


@HOOKS.register_module()
class PreflightHook(Hook):
    """Log one table about the run before its first step; stop if something in it is wrong.

    Rows: data sets, labels and classes, missing files, the batch of a step against the recipe's, views, clip and image
    size, processes, mixed precision, weights, disk space. Doubts are warnings. At the first batch the values that
    enter the model are looked at, after 50 steps the share of time in which the run waited for data.

    Args:
        strict: whether doubts stop the run too.

    Raises:
        PreflightError: with all errors (and, if strict, doubts).
    """

    priority = 'VERY_LOW'

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict

    def before_train(self, runner: Runner) -> None:
        self._first_step = runner.iter
        findings = list(_findings(runner)) if is_main_process() else []
        if findings:
            runner.logger.info(f'Preflight\n{table(findings)}')
        self._act(runner, findings)
        backbone = getattr(_unwrapped(runner.model), 'backbone', None)
        if backbone is None or runner.cfg.get('compile'):
            return

        def look(module: Any, args: tuple[Tensor, ...]) -> None:
            handle.remove()
            self._act(runner, list(input_findings(args[0])))

        handle = backbone.register_forward_pre_hook(look)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        scalars = runner.message_hub.log_scalars
        if runner.iter + 1 != self._first_step + MEASURED_STEPS or 'train/data_time' not in scalars:
            return
        wait, step = (scalars[f'train/{name}'].mean(MEASURED_STEPS * 4 // 5) for name in ('data_time', 'time'))
        memory = f', {torch.cuda.max_memory_allocated() / 2**30:.1f} GB of GPU memory' if _on_gpu(runner) else ''
        runner.logger.info(f'Preflight: {step:.3f} s a step, {wait / step:.0%} of it waiting for data{memory}')
        if wait > WAIT_SHARE * step:
            workers = runner.train_dataloader.num_workers
            runner.logger.warning(
                f'Preflight: {wait / step:.0%} of the time goes into waiting for data. Remedies, likeliest first: more '
                f'workers (num_workers is {workers}), persistent_workers=True, videos scaled down to the short side '
                'that the pipeline resizes to, a faster disk'
            )

    def _act(self, runner: Runner, findings: list[Finding]) -> None:
        """Warn or stop, on every process alike."""
        told = [findings]
        broadcast_object_list(told)
        wrong = [f for f in told[0] if f.level == 'error' or (self.strict and f.level == 'doubt')]
        if wrong:
            raise PreflightError('The run would not go well:\n' + '\n'.join(f'- {f.subject}: {f.text}' for f in wrong))
        for finding in told[0]:
            if finding.level == 'doubt':
                runner.logger.warning(f'Preflight, {finding.subject}: {finding.text}')


def table(findings: list[Finding]) -> str:
    """Lay out findings, a line each."""
    width = max(len(finding.subject) for finding in findings)
    marks = {'ok': ' ', 'doubt': '?', 'error': '!'}
    return '\n'.join(f'{marks[f.level]} {f.subject:<{width}}  {f.text}' for f in findings)


def input_findings(clips: Tensor) -> Iterator[Finding]:
    """Judge the values of the first batch that enters the model, after the data preprocessor."""
    values = clips.detach().float()
    low, high, mean, std = (float(value) for value in (values.min(), values.max(), values.mean(), values.std()))
    text = f'the first batch runs from {low:.3g} to {high:.3g}, mean {mean:.3g}, std {std:.3g}'
    if not values.isfinite().all():
        yield Finding(
            'input', f'{text}: not finite; look at std of model.data_preprocessor and at the pipeline', 'error'
        )
    elif high > 20 or abs(mean) > 5:
        yield Finding('input', f'{text}: not normalized; set mean and std of model.data_preprocessor', 'doubt')
    elif std < 0.02:
        yield Finding('input', f'{text}: all but constant; normalized twice, or black frames?', 'doubt')


def _findings(runner: Runner) -> Iterator[Finding]:
    for check in CHECKS:
        try:
            yield from check(runner)
        except Exception as error:  # an unusual model or data set must not end a run here
            yield Finding(check.__name__.replace('_', ' '), f'not checked ({type(error).__name__}: {error})')


def _unwrapped(model: Any) -> Any:
    return model.module if is_model_wrapper(model) else model


def _on_gpu(runner: Runner) -> bool:
    return next(runner.model.parameters()).is_cuda
