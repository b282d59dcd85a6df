"""From a folder of videos to a trained model: data lists, a config of its own, training, test and report."""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config

from vidtx_mm.checks import choose
from vidtx_mm.weights import CheckpointError
from vidtx_mm.weights.fetch import fetch, is_url

from .configs import find_config
from .folders import Folder, read_folder
from .host import host_command, run_logged
from .recipe import FROM_SCRATCH, PRESETS, Recipe
from .recognizer import find_run
from .report import Report, make_report
from .zoo import find_checkpoint, published


@dataclass(frozen=True)
class Plan:
    """A fine-tuning run before it starts.

    Attributes:
        folder: the data.
        config: the config file that is written and trained, ``text`` its content.
        work_dir: where lists, config, checkpoints and report go.
        devices: processes, one for each device.
        summary: lines that say it in short.
    """

    folder: Folder
    config: Path
    text: str
    work_dir: Path
    devices: int
    summary: tuple[str, ...]

    @property
    def resume_command(self) -> str:
        """The command that goes on with an interrupted run."""
        words = ['vidtx', 'train', self.config, '--work-dir', self.work_dir, '--resume']
        return shlex.join(map(str, words + (['--gpus', self.devices] if self.devices > 1 else [])))


def plan_finetune(
    folder: str | Path,
    config: str | Path,
    checkpoint: str | Path | None = None,
    from_scratch: bool = False,
    epochs: int | None = None,
    batch: int | None = None,
    val_share: float = 0.2,
    group: str | None = None,
    preset: str = 'small',
    work_dir: str | Path | None = None,
    devices: int = 1,
    seed: int = 0,
) -> Plan:
    """Read a folder of videos and rewrite a recipe for it. Nothing is written.

    Args:
        folder: see :func:`vidtx_mm.apis.folders.read_folder`.
        config: name or file of a recipe.
        checkpoint: a file, a web address or a weights id to start from; by default the config's published weights, or
            else those that its recipe starts from.
        from_scratch: start from random weights, on the recipe's schedule.
        epochs: in place of the preset's.
        batch: videos of each device in a step, in place of the recipe's.
        val_share: part of the videos that validate.
        group: pattern of the source in file names, see ``read_folder``.
        preset: 'small' for some thousand videos or fewer, 'full' for the recipe's own schedule and augmentation,
            'linear' to train the classifier alone.
        work_dir: by default ``work_dirs/<config>_<folder>``.
        devices: processes, one for each device.
        seed: of the split and of training.

    Raises:
        ValueError: if an argument or the config does not serve.
        OSError: if something cannot be read.
        CheckpointError: if the weights cannot be fetched.
    """
    chosen = PRESETS[choose('preset', preset, PRESETS)]
    if from_scratch:
        if checkpoint is not None or chosen.frozen:
            other = 'a checkpoint' if checkpoint is not None else f'preset={preset!r}'
            raise ValueError(f'from_scratch starts from random weights: leave out {other}')
        chosen = chosen if chosen.epochs is None else FROM_SCRATCH
    data = read_folder(folder, val_share, seed, group)
    file = find_config(config)
    cfg = Config.fromfile(file)
    if 'num_classes' not in cfg.model.get('cls_head', ()):
        raise ValueError(f'{file.name}: its model has no classifier with num_classes; choose another config')
    weights = None if from_scratch else find_start(cfg, file.stem, checkpoint)
    place = Path(work_dir or Path('work_dirs') / f'{file.stem}_{data.root.name}').resolve()
    own = place / 'config' / f'{re.sub("[^0-9A-Za-z_]", "_", place.name)}.py'  # a name that Config.fromfile accepts
    recipe = Recipe(file, cfg, data, place, chosen, weights, devices, batch, epochs, seed)
    summary = (
        f'{len(data.classes)} classes, {len(data.train)} videos to train, {len(data.val)} to validate',
        f'{recipe.num_epochs} epochs of {recipe.steps} steps of {recipe.clips_per_step} clips, rate '
        f'{recipe.scaled(cfg.lr):g}, from {weights or "random weights"}',
    )
    return Plan(data, own, recipe.text(own), place, devices, summary)


def find_start(cfg: Config, name: str, checkpoint: str | Path | None = None) -> str:
    """The file to start from, fetched if need be: the one asked for, the published one, or that of the recipe.

    Raises:
        ValueError: if there is none.
        CheckpointError: if it cannot be fetched, with its address.
    """
    known = published(name)
    start = checkpoint or (known.url if known else cfg.get('checkpoint'))
    if start is None:
        raise ValueError(f'{name} has no published weights to start from: give --checkpoint FILE, or --from-scratch')
    found = find_checkpoint(start)
    if not is_url(found):
        return str(Path(found).expanduser().resolve())
    try:
        return str(fetch(found))
    except CheckpointError as error:
        raise CheckpointError(f'{error}; --from-scratch starts from random weights') from error


def write_plan(plan: Plan) -> None:
    """Write lists, class names and config into the work dir.

    Raises:
        FileExistsError: if the work dir holds a run already.
        OSError: if something cannot be written, naming the file.
    """
    if plan.config.exists():
        raise FileExistsError(
            f'{plan.work_dir} holds a run already: go on with `{plan.resume_command}`, or choose another --work-dir'
        )
    lists = {side: getattr(plan.folder, side) for side in ('train', 'val')}
    texts = {f'{side}.txt': ''.join(f'{path} {label}\n' for path, label in videos) for side, videos in lists.items()}
    texts['classes.txt'] = ''.join(f'{name}\n' for name in plan.folder.classes)
    files = {plan.work_dir / 'data' / name: text for name, text in texts.items()} | {plan.config: plan.text}
    for file, text in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            file.write_text(text, encoding='utf-8')
        except OSError as error:
            file.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(file)) from error


def run_finetune(plan: Plan, say: Callable[[str], None] = print) -> Report:
    """Train, test the best checkpoint on the validation videos, and write the report.

    Raises:
        HostError: if training or testing fails.
        KeyboardInterrupt: if the user stops it; the message says how to go on.
    """
    options: list[str | Path] = ['--work-dir', plan.work_dir]
    if plan.devices > 1 and not torch.cuda.is_available():
        options += ['--cfg-options', 'env_cfg.dist_cfg.backend=gloo']
    say(f'training; {plan.work_dir / "train.log"} has every line')
    try:
        run_logged(host_command('train', [plan.config, *options], plan.devices), plan.work_dir / 'train.log', say)
    except KeyboardInterrupt as stop:
        raise KeyboardInterrupt(f'stopped; go on with `{plan.resume_command}`') from stop
    best, dump = find_run(plan.work_dir)[1], plan.work_dir / 'predictions.pkl'
    say(f'testing {best.name}')
    test = host_command('test', [plan.config, best, '--work-dir', plan.work_dir / 'test', '--dump', dump])
    run_logged(test, plan.work_dir / 'test.log', say)
    return make_report(plan.work_dir, dump=dump)
