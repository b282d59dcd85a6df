"""Table of known faults in the host packages, and the import hook that repairs them.

``import vidtx_mm`` imports no host package. A repair runs when its module is imported (at once if it already is), and
only if the fault is present. Set ``VIDTX_MM_NO_REPAIR=name,name`` (or ``all``) to disable repairs;
``python -m vidtx_mm.doctor`` lists them.
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

from vidtx_mm.repairs import mmaction2, mmcv, mmengine, mmengine_config, mmengine_resume, mmseg, torchvision

ENV_VAR = 'VIDTX_MM_NO_REPAIR'
logger = logging.getLogger('vidtx_mm')


@dataclass(frozen=True)
class Repair:
    """One fault of the host.

    Attributes:
        name: name in ``VIDTX_MM_NO_REPAIR``.
        package: distribution that has the fault.
        versions: affected versions.
        symptom: failure without the repair.
        issue: upstream report.
        modules: modules to repair on import. If ``repair`` is None, a failing import of them names the remedy.
        detect: return whether this installation has the fault.
        repair: context manager around the execution of a module; None if only the user can fix the fault.
        remedy: action left to the user.
    """

    name: str
    package: str
    versions: str
    symptom: str
    issue: str
    modules: tuple[str, ...]
    detect: Callable[[], bool]
    repair: Callable[[ModuleType], AbstractContextManager[None]] | None
    remedy: str = ''


REPAIRS = (
    Repair(
        name='drn',
        package='mmaction2',
        versions='1.2.0 from PyPI',
        symptom='import mmaction.models fails: the wheel lacks mmaction.models.localizers.drn',
        issue='open-mmlab/mmaction2#2714',
        modules=('mmaction.models.localizers',),
        detect=mmaction2.lacks_drn,
        repair=mmaction2.add_drn_placeholder,
        remedy='to use the localizer DRN, install mmaction2 from source',
    ),
    Repair(
        name='multimodal',
        package='mmaction2',
        versions='1.2.0 with transformers >= 4.56, or with any transformers >= 4.28 and no timm',
        symptom='import mmaction.models fails in mmaction.models.multimodal',
        issue='not reported',
        modules=('mmaction.utils.dependency',),
        detect=mmaction2.multimodal_fails,
        repair=mmaction2.disable_multimodal,
        remedy='to use VindLU: pip install timm "transformers<4.56"',
    ),
    Repair(
        name='weights_only',
        package='mmengine',
        versions='<= 0.10.7',
        symptom='mim test --checkpoint, --resume and load_from reject checkpoints written by MMEngine (weights_only)',
        issue='open-mmlab/mmengine#1655',
        modules=('mmengine.logging.history_buffer',),
        detect=mmengine.reads_checkpoints,
        repair=mmengine.allow_checkpoint_globals,
    ),
    Repair(
        name='pickle',
        package='mmengine',
        versions='all versions',
        symptom='code that is pickled in a checkpoint runs: from a web address, and with torch < 2.6 from any file',
        issue='not reported',
        modules=('mmengine.runner.checkpoint',),
        detect=mmengine.reads_checkpoints,
        repair=mmengine.load_weights_only,
    ),
    Repair(
        name='meta_config',
        package='mmengine',
        versions='all versions',
        symptom="--resume and resume=True execute the text in a checkpoint's meta['config'] as Python",
        issue='not reported',
        modules=('mmengine.runner.runner', 'mmengine.runner._flexible_runner'),
        detect=mmengine_resume.executes_meta_config,
        repair=mmengine_resume.drop_meta_config,
    ),
    Repair(
        name='weights_config',
        package='mmengine',
        versions='all versions',
        symptom='an inferencer built from weights without a config executes the config text in the checkpoint',
        issue='not reported',
        modules=('mmengine.infer.infer',),
        detect=mmengine_resume.executes_weights_config,
        repair=mmengine_resume.require_config,
    ),
    Repair(
        name='resume',
        package='mmengine',
        versions='all versions',
        symptom='--resume fails on a truncated newest checkpoint, and starts at epoch 0 when last_checkpoint is lost',
        issue='not reported',
        modules=('mmengine.runner.runner', 'mmengine.runner._flexible_runner'),
        detect=mmengine_resume.resumes_without_checks,
        repair=mmengine_resume.resume_from_sound,
    ),
    Repair(
        name='cfg_options',
        package='mmengine',
        versions='all versions',
        symptom='--cfg-options lr=1e-4 changes the variable of a config, but nothing that the config derives from it',
        issue='not reported',
        modules=('mmengine.config.config',),
        detect=mmengine_config.options_miss_variables,
        repair=mmengine_config.options_reach_variables,
    ),
    Repair(
        name='ddp_init',
        package='mmengine',
        versions='all versions, without a CUDA device',
        symptom='--launcher pytorch fails in torch.cuda.set_device',
        issue='not reported',
        modules=('mmengine.dist.utils',),
        detect=mmengine.lacks_cuda,
        repair=mmengine.init_dist_without_cuda,
        remedy='pass --cfg-options env_cfg.dist_cfg.backend=gloo',
    ),
    Repair(
        name='ddp_device_ids',
        package='mmengine',
        versions='all versions, without a CUDA device',
        symptom='--launcher pytorch fails: DistributedDataParallel rejects device_ids on the CPU',
        issue='not reported',
        modules=('mmengine.model.wrappers.distributed',),
        detect=mmengine.lacks_cuda,
        repair=mmengine.drop_device_ids,
    ),
    Repair(
        name='ddp_losses',
        package='mmengine',
        versions='all versions',
        symptom='losses and accuracies in the log of distributed training are those of the first process alone',
        issue='not reported',
        modules=('mmengine.runner.log_processor',),
        detect=mmengine.logs_first_process_alone,
        repair=mmengine.average_logged_losses,
    ),
    Repair(
        name='numpy2',
        package='mmaction2',
        versions='1.2.0 with numpy >= 2.0 (np.Inf) or 2.4 (np.trapz, np.in1d)',
        symptom='frame_extract(short_side), PoseCompact, average recall and retrieval recall fail: AttributeError',
        issue='not reported',
        modules=(
            'mmaction.datasets.transforms.pose_transforms',
            'mmaction.evaluation.functional.accuracy',
            'mmaction.evaluation.metrics.multimodal_metric',
            'mmaction.utils.misc',
        ),
        detect=mmaction2.uses_removed_numpy_names,
        repair=mmaction2.add_numpy1_names,
    ),
    Repair(
        name='simcc',
        package='mmpose',
        versions='1.3.2 without a working torchvision',
        symptom='import mmpose.visualization fails: simcc_vis imports torchvision',
        issue='not reported',
        modules=('mmpose.visualization.simcc_vis',),
        detect=torchvision.mmpose_lacks_torchvision,
        repair=torchvision.add_torchvision,
        remedy='to draw SimCC heatmaps, install the torchvision that matches your torch',
    ),
    Repair(
        name='torchvision',
        package='mmpretrain',
        versions='1.2.0 without a working torchvision',
        symptom='import mmpretrain.models and mmpretrain.datasets fail: torchvision is an undeclared dependency',
        issue='not reported',
        modules=(
            'mmpretrain.datasets.transforms.formatting',
            'mmpretrain.datasets.transforms.processing',
            'mmpretrain.evaluation.metrics.visual_grounding_eval',
            'mmpretrain.models.utils.box_utils',
        ),
        detect=torchvision.mmpretrain_lacks_torchvision,
        repair=torchvision.add_torchvision,
        remedy='to use the transforms of torchvision, install the torchvision that matches your torch',
    ),
    Repair(
        name='importlib_metadata',
        package='mmaction2',
        versions='1.2.0',
        symptom='import mmaction.models fails: importlib_metadata is an undeclared dependency',
        issue='not reported',
        modules=(),
        detect=mmaction2.lacks_importlib_metadata,
        repair=None,
        remedy='pip install importlib_metadata',
    ),
    Repair(
        name='pkg_resources',
        package='openmim, mmengine',
        versions='<= 0.3.9 and <= 0.10.7, with setuptools >= 82',
        symptom="mim does not start and 'mmaction::' config bases are not found: setuptools removed pkg_resources",
        issue='open-mmlab/mmcv#3325 (the same fault in mmcv)',
        modules=(),
        detect=mmaction2.lacks_pkg_resources,
        repair=None,
        remedy='pip install "setuptools<82"',
    ),
    Repair(
        name='moviepy',
        package='mmaction2',
        versions='1.2.0 with moviepy >= 2',
        symptom="MMAction2's visualizer cannot write gif or mp4 and asks for moviepy, which is installed",
        issue='not reported',
        modules=(),
        detect=mmaction2.lacks_moviepy_editor,
        repair=None,
        remedy='pip install "moviepy<2"',
    ),
    Repair(
        name='mmcv_ops',
        package='mmcv-lite, mmcv',
        versions='mmcv-lite, or mmcv built without operators, with mmdet, mmpose or mmsegmentation',
        symptom="import mmdet.models, mmpose.models and mmseg.models fail: No module named 'mmcv._ext'",
        issue='not a bug',
        modules=('mmcv.ops',),
        detect=mmcv.lacks_operators,
        repair=None,
        remedy=mmcv.OPERATORS,
    ),
    Repair(
        name='ftfy',
        package='mmsegmentation',
        versions='1.2.2',
        symptom='import mmseg.models fails: ftfy and regex are undeclared dependencies',
        issue='open-mmlab/mmsegmentation#3704',
        modules=('mmseg.utils.tokenizer',),
        detect=mmseg.lacks_text_packages,
        repair=None,
        remedy='pip install ftfy regex',
    ),
)

_applied: set[str] = set()


def disabled() -> frozenset[str]:
    """Return the repairs named in ``VIDTX_MM_NO_REPAIR``; raise ``ValueError`` on unknown names."""
    names = {word.strip() for word in os.environ.get(ENV_VAR, '').split(',')} - {''}
    known = {row.name for row in REPAIRS if row.modules}
    if names == {'all'}:
        return frozenset(known)
    if unknown := names - known:
        raise ValueError(f'unknown repairs in {ENV_VAR}: {sorted(unknown)}; use all, or names from {sorted(known)}')
    return frozenset(names)


def state(row: Repair) -> str:
    """Return 'absent' (this host does not have the fault), 'repaired', 'disabled' or 'open' (see the remedy)."""
    if not row.detect():
        return 'absent'
    if row.repair is None:
        return 'open'
    return 'disabled' if row.name in disabled() else 'repaired'


def _run(rows: Iterable[Repair], module: ModuleType, execute: Callable[[], None]) -> None:
    """Execute a module within the repairs whose fault is present."""
    present = [row for row in rows if row.detect()]
    with ExitStack() as stack:
        for row in present:
            stack.enter_context(row.repair(module) if row.repair else _add_remedy(row))
        execute()
    for row in present:
        if row.repair and row.name not in _applied:
            _applied.add(row.name)
            logger.debug('repaired %s %s: %s (%s)', row.package, row.versions, row.symptom, row.issue)


@contextmanager
def _add_remedy(row: Repair) -> Iterator[None]:
    """Add the remedy to the message of a failing import."""
    try:
        yield
    except ImportError as error:
        raise type(error)(f'{error}. Remedy: {row.remedy}', name=error.name, path=error.path) from error


class _RepairFinder(importlib.abc.MetaPathFinder):
    """Find the modules of the table with the other finders, and run their repairs when they are executed."""

    def __init__(self, rows: dict[str, list[Repair]]) -> None:
        self.rows = rows
        self.searching: set[str] = set()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self.rows or fullname in self.searching:
            return None
        self.searching.add(fullname)
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self.searching.discard(fullname)
        if spec is not None and spec.loader is not None:
            execute, rows = spec.loader.exec_module, self.rows[fullname]
            spec.loader.exec_module = lambda module: _run(rows, module, partial(execute, module))  # type: ignore
        return spec


def apply_repairs() -> None:
    """Repair the imported modules now and the others on import. Called once, by ``import vidtx_mm``."""
    off = disabled()
    rows: dict[str, list[Repair]] = {}
    for row in REPAIRS:
        if row.name not in off:
            for name in row.modules:
                rows.setdefault(name, []).append(row)
    for name in rows.keys() & sys.modules.keys():
        _run(rows.pop(name), sys.modules[name], lambda: None)
    if rows:
        sys.meta_path.insert(0, _RepairFinder(rows))
