"""The table of faults in the host packages, and when they are repaired.

``import vidtx_mm`` imports nothing for it: a repair waits for the import of the module it concerns (or runs at once
when that module is already there), looks whether the fault is present, and acts only then.
``VIDTX_MM_NO_REPAIR=name,name`` (or ``all``) switches repairs off. ``python -m vidtx_mm.doctor`` lists them.
"""

import importlib.abc
import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType

from vidtx_mm.repairs import mmaction2, mmcv, mmengine, mmpose

SWITCH = 'VIDTX_MM_NO_REPAIR'
logger = logging.getLogger('vidtx_mm')


@dataclass(frozen=True)
class Repair:
    """One fault of the host.

    Attributes:
        name: the word for ``VIDTX_MM_NO_REPAIR``.
        package: the distribution that carries the fault.
        since: the versions that have it.
        broken: what fails without the repair.
        upstream: where it is reported.
        modules: the modules whose import the repair waits for. Without a repair, an import of theirs that fails names
            the remedy.
        detect: whether this installation has the fault.
        repair: context manager around the execution of a module; None where only the user can act.
        remedy: what is left to the user.
    """

    name: str
    package: str
    since: str
    broken: str
    upstream: str
    modules: tuple[str, ...]
    detect: Callable[[], bool]
    repair: Callable[[ModuleType], AbstractContextManager[None]] | None
    remedy: str = ''


REPAIRS = (
    Repair(
        name='drn',
        package='mmaction2',
        since='1.2.0 from the package registry',
        broken='import mmaction.models fails: the wheel lacks mmaction.models.localizers.drn',
        upstream='open-mmlab/mmaction2#2714',
        modules=('mmaction.models.localizers',),
        detect=mmaction2.lacks_drn,
        repair=mmaction2.stand_in_drn,
        remedy='only to use the localizer DRN: install mmaction2 from its source repository',
    ),
    Repair(
        name='multimodal',
        package='mmaction2',
        since='1.2.0 with transformers >= 4.56, or with any transformers >= 4.28 and no timm',
        broken='import mmaction.models fails in mmaction.models.multimodal',
        upstream='not reported',
        modules=('mmaction.utils.dependency',),
        detect=mmaction2.multimodal_fails,
        repair=mmaction2.without_multimodal,
        remedy='only to use VindLU: pip install timm "transformers<4.56"',
    ),
    Repair(
        name='weights_only',
        package='mmengine',
        since='<= 0.10.7 with torch >= 2.6',
        broken='mim test --checkpoint, --resume and load_from refuse checkpoints that MMEngine wrote',
        upstream='open-mmlab/mmengine#1655',
        modules=('mmengine.logging.history_buffer',),
        detect=mmengine.loads_weights_only,
        repair=mmengine.trust_checkpoint_globals,
    ),
    Repair(
        name='ddp_init',
        package='mmengine',
        since='all, without a CUDA device',
        broken='--launcher pytorch fails in torch.cuda.set_device',
        upstream='not reported',
        modules=('mmengine.dist.utils',),
        detect=mmengine.lacks_cuda,
        repair=mmengine.init_dist_without_cuda,
        remedy='pass --cfg-options env_cfg.dist_cfg.backend=gloo',
    ),
    Repair(
        name='ddp_device_ids',
        package='mmengine',
        since='all, without a CUDA device',
        broken='--launcher pytorch fails: DistributedDataParallel takes no device_ids on the CPU',
        upstream='not reported',
        modules=('mmengine.model.wrappers.distributed',),
        detect=mmengine.lacks_cuda,
        repair=mmengine.wrap_without_device_ids,
    ),
    Repair(
        name='numpy2',
        package='mmaction2',
        since='1.2.0 with numpy >= 2.0 (np.Inf) or 2.4 (np.trapz, np.in1d)',
        broken='frame_extract(short_side), PoseCompact, average recall and retrieval recall fail: AttributeError',
        upstream='not reported',
        modules=(
            'mmaction.datasets.transforms.pose_transforms',
            'mmaction.evaluation.functional.accuracy',
            'mmaction.evaluation.metrics.multimodal_metric',
            'mmaction.utils.misc',
        ),
        detect=mmaction2.uses_removed_numpy_names,
        repair=mmaction2.with_numpy1_names,
    ),
    Repair(
        name='simcc',
        package='mmpose',
        since='1.3.2 without a working torchvision',
        broken='import mmpose.visualization fails: simcc_vis imports torchvision',
        upstream='not reported',
        modules=('mmpose.visualization.simcc_vis',),
        detect=mmpose.lacks_torchvision,
        repair=mmpose.stand_in_torchvision,
        remedy='only to draw SimCC heatmaps: install the torchvision that belongs to your torch',
    ),
    Repair(
        name='importlib_metadata',
        package='mmaction2',
        since='1.2.0',
        broken='import mmaction.models fails: the wheel does not require importlib_metadata',
        upstream='not reported',
        modules=(),
        detect=mmaction2.lacks_importlib_metadata,
        repair=None,
        remedy='pip install importlib_metadata',
    ),
    Repair(
        name='pkg_resources',
        package='openmim, mmengine',
        since='<= 0.3.9 and <= 0.10.7, with setuptools >= 82',
        broken="mim does not start and bases like 'mmaction::...' are not found: setuptools dropped pkg_resources",
        upstream='open-mmlab/mmcv#3325 (the same fault in mmcv)',
        modules=(),
        detect=mmaction2.lacks_pkg_resources,
        repair=None,
        remedy='pip install "setuptools<82"',
    ),
    Repair(
        name='moviepy',
        package='mmaction2',
        since='1.2.0 with moviepy >= 2',
        broken="writing gif or mp4 by MMAction2's visualizer asks for moviepy although it is installed",
        upstream='not reported',
        modules=(),
        detect=mmaction2.lacks_moviepy_editor,
        repair=None,
        remedy='pip install "moviepy<2"',
    ),
    Repair(
        name='mmcv_ops',
        package='mmcv-lite, mmcv',
        since='mmcv-lite, or mmcv built without its operators, beside mmdet or mmpose',
        broken="import mmdet.models and mmpose.models fail: No module named 'mmcv._ext'",
        upstream='no fault of theirs',
        modules=('mmcv.ops',),
        detect=mmcv.lacks_operators,
        repair=None,
        remedy=mmcv.OPERATORS,
    ),
)

_done: set[str] = set()


def switched_off() -> frozenset[str]:
    """Names in ``VIDTX_MM_NO_REPAIR``; a name that is not in the table is a ValueError."""
    names = {word.strip() for word in os.environ.get(SWITCH, '').split(',')} - {''}
    known = {row.name for row in REPAIRS if row.modules}
    if names == {'all'}:
        return frozenset(known)
    if unknown := names - known:
        raise ValueError(f'{SWITCH} names no repair: {sorted(unknown)}; valid: all, or any of {sorted(known)}')
    return frozenset(names)


def state(row: Repair) -> str:
    """'absent' (no such fault here), 'repaired', 'switched off' or 'open' (only the user can act)."""
    if not row.detect():
        return 'absent'
    if row.repair is None:
        return 'open'
    return 'switched off' if row.name in switched_off() else 'repaired'


def _run(rows: Iterable[Repair], module: ModuleType, execute: Callable[[], None]) -> None:
    """Execute a module inside the repairs whose fault is present."""
    present = [row for row in rows if row.detect()]
    with ExitStack() as stack:
        for row in present:
            stack.enter_context(row.repair(module) if row.repair else _explained(row))
        execute()
    for row in present:
        if row.repair and row.name not in _done:
            _done.add(row.name)
            logger.debug('repaired %s %s: %s (%s)', row.package, row.since, row.broken, row.upstream)


@contextmanager
def _explained(row: Repair) -> Iterator[None]:
    """Add the remedy to the message of an import that fails."""
    try:
        yield
    except ImportError as error:
        raise type(error)(f'{error}. Remedy: {row.remedy}', name=error.name, path=error.path) from error


class _Waiting(importlib.abc.MetaPathFinder):
    """Finds the modules of the table as usual and runs their repairs when they are executed."""

    def __init__(self, rows: dict[str, list[Repair]]) -> None:
        self.rows = rows
        self.looking: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.rows or fullname in self.looking:
            return None
        self.looking.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.looking.discard(fullname)
        if spec is not None and spec.loader is not None:
            execute, rows = spec.loader.exec_module, self.rows[fullname]
            spec.loader.exec_module = lambda module: _run(rows, module, partial(execute, module))  # type: ignore
        return spec


def apply_repairs() -> None:
    """Repair what is imported already and wait for the rest. Called once, by ``import vidtx_mm``."""
    off = switched_off()
    rows: dict[str, list[Repair]] = {}
    for row in REPAIRS:
        if row.name not in off:
            for name in row.modules:
                rows.setdefault(name, []).append(row)
    for name in rows.keys() & sys.modules.keys():
        _run(rows.pop(name), sys.modules[name], lambda: None)
    if rows:
        sys.meta_path.insert(0, _Waiting(rows))
