"""``custom_hooks=[dict(type='vidtx_mm.WeightInflationHook')]``: Runner loads checkpoints of any known source."""

from dataclasses import replace
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import CheckpointLoader, Runner

from ..registry import HOOKS
from .formats import open_checkpoint
from .load import Options, adapt, check_complete, unwrapped
from .runtime import publish, read

SCHEME = 'vidtx_mm://'
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

    Args:
        options: further arguments of :func:`vidtx_mm.weights.load_pretrained`.
    """

    priority = 'VERY_HIGH'

    def __init__(self, **options: Any) -> None:
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
        checkpoint['state_dict'] = {**unwrapped(runner.model).state_dict(), **state_dict}
        publish(report, runner.work_dir)
