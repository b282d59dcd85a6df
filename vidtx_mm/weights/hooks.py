"""``custom_hooks=[dict(type='vidtx_mm.WeightInflationHook')]``: Runner loads checkpoints of any known source."""

import logging
from dataclasses import replace
from typing import Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, CheckpointLoader, Runner

from ..registry import HOOKS
from .errors import CheckpointError, listed
from .formats import open_checkpoint
from .load import Options, adapt, check_complete, unwrapped
from .runtime import publish, read

SCHEME = 'vidtx_mm://'
# Reported elsewhere, or used in training alone.
NOT_TESTED = ('backbone.', 'auxiliary_head.', 'cls_head.fc_token.', 'head.fc_token.')
_OPENED = 'vidtx_mm.opened'


@CheckpointLoader.register_scheme(prefixes=SCHEME)
def load_from_any_source(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Load ``vidtx_mm://<path or web address>`` for MMEngine: any format, not converted yet."""
    opened = read(filename.removeprefix(SCHEME))
    return {'meta': {}, 'state_dict': opened.tensors, _OPENED: opened}


@HOOKS.register_module()
class WeightInflationHook(Hook):
    """Make ``load_from=``, ``mim test --checkpoint`` and ``--resume`` strict, and accept every known source.

    A checkpoint to load is read by :func:`vidtx_mm.weights.open_checkpoint` instead of ``torch.load`` and brought to
    the model's keys and shapes before Runner and EMAHook use it. The report is logged and saved as
    ``pretrained_report.txt`` in the work dir. A checkpoint to resume must have exactly the model's keys and shapes.

    Testing or validating a head that stays at its initialization is an error: its results would be random.

    Args:
        allow_random_head: test such a head all the same, with a warning.
        options: further arguments of :func:`vidtx_mm.weights.load_pretrained`.
    """

    priority = 'VERY_HIGH'

    def __init__(self, allow_random_head: bool = False, **options: Any) -> None:
        self.allow_random_head = allow_random_head
        self.options = Options.parse(options)

    def before_run(self, runner: Runner) -> None:
        """Let Runner load the checkpoint by ``load_from_any_source``, after it has initialized the weights."""
        path = runner._load_from
        if path is not None and not runner._resume and not str(path).startswith(SCHEME):
            runner._load_from = SCHEME + str(path)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Bring ``checkpoint['state_dict']`` to the model's keys and shapes, and fill in the parts left at init."""
        opened = checkpoint.pop(_OPENED, None) or open_checkpoint(checkpoint)
        if runner._resume:
            check_complete(replace(opened, name=runner._load_from or 'the latest checkpoint'), runner.model)
            return
        state_dict, report = adapt(opened, runner.model, self.options)
        random = [key for key in report.keys('left at init') if not key.startswith(NOT_TESTED)]
        if random and not isinstance(runner._train_loop, BaseLoop):
            message = (
                f'{opened.name} leaves the head at its initialization ({listed(random)}), so that results are random'
            )
            if not self.allow_random_head:
                raise CheckpointError(
                    f'{message}. Test a checkpoint that was trained on these classes; to test this one all the same: '
                    f'--cfg-options custom_hooks.{self._place(runner)}.allow_random_head=True'
                )
            print_log(message, logger='current', level=logging.WARNING)
        checkpoint['state_dict'] = {**unwrapped(runner.model).state_dict(), **state_dict}
        publish(report, runner.work_dir)

    @staticmethod
    def _place(runner: Runner) -> int:
        """Return the index of this hook in the config's ``custom_hooks``."""
        hooks = runner.cfg.get('custom_hooks') or []
        return next((i for i, hook in enumerate(hooks) if str(hook.get('type')).endswith('WeightInflationHook')), 0)
