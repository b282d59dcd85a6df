"""The demonstration: make the clips, train and test through the real ``mim``, draw what came out.

What is there is used again: the clips, if they were made from the same spec, and the trained model, if config, clips
and model code are the same.
"""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from mmengine.config import Config

from . import report
from .shapes import ShapesSpec, make_shapes, manifest

PACKAGE = Path(__file__).resolve().parents[1]
MODEL_CODE = ('backbones', 'heads', 'layers')
TAIL = 30  # lines of its log that a failed command shows


class DemoError(RuntimeError):
    """A step failed; the message says which, why, and what to do."""


@dataclass(frozen=True)
class Job:
    """What to train on what, and where everything goes. Paths are relative to the working directory, or absolute."""

    config: Path
    data: Path
    work_dir: Path
    spec: ShapesSpec = ShapesSpec()
    say: Callable[[str], None] = print

    def run(self) -> report.Predictions:
        """All steps. Raises ``DemoError`` if one of them fails."""
        cfg = Config.fromfile(self.config)
        self.say(f'[1/4] clips in {self.data}')
        if not make_shapes(self.data, self.spec, lambda line: self.say(f'  {line}')):
            self.say('  already there: used again')
        trained = self.trained(cfg)
        predictions = self.test(cfg, trained)
        self.say('[4/4] pictures')
        self.draw(cfg, trained, predictions)
        return predictions

    # -- steps ---------------------------------------------------------------------------------------------------

    def trained(self, cfg: Config) -> Path:
        """The folder of the training run, which holds the checkpoint of the best epoch."""
        folder = self.work_dir / 'train'
        note = folder / 'trained.json'
        wanted = fingerprint(cfg, self.spec)
        if note.is_file() and note.read_text() == wanted and len(best_checkpoints(folder)) == 1:
            self.say(
                f'[2/4] training: same config, clips and model code as in {folder}: used again (delete it to retrain)'
            )
            return folder
        self.say(f'[2/4] training for {cfg.train_cfg.max_epochs} epochs; the first lines take some seconds')
        for old in (note, *best_checkpoints(folder)):
            old.unlink(missing_ok=True)
        start = monotonic()
        self.mim('train', cfg, '--work-dir', folder)
        if len(best_checkpoints(folder)) != 1:
            raise DemoError(f'{folder} holds no best_*.pth after training; see {self.work_dir / "train.log"}')
        note.write_text(wanted)
        self.say(f'  trained in {monotonic() - start:.0f} s')
        return folder

    def test(self, cfg: Config, trained: Path) -> report.Predictions:
        checkpoint, dump = best_checkpoints(trained)[0], self.work_dir / 'predictions.pkl'
        self.say(f'[3/4] testing {checkpoint.name} on the held-out clips')
        dump.unlink(missing_ok=True)
        self.mim('test', cfg, '--checkpoint', checkpoint, '--work-dir', self.work_dir / 'test', '--dump', dump)
        return report.read_predictions(dump, self.data)

    def draw(self, cfg: Config, trained: Path, predictions: report.Predictions) -> None:
        steps_per_epoch = -(-self.spec.train // cfg.train_dataloader.batch_size)
        scalars = max(trained.glob('*/vis_data/scalars.json'))  # folders are named by the time of their start
        curves = report.read_curves(scalars, steps_per_epoch)
        report.draw_confusion(predictions, self.work_dir / 'confusion.png')
        report.draw_curves(curves, 1 / len(predictions.classes), self.work_dir / 'curves.png')
        report.draw_predictions(predictions, self.work_dir / 'predictions.png')
        for name in ('confusion', 'curves', 'predictions'):
            self.say(f'  {self.work_dir / name}.png')

    # -- mim -----------------------------------------------------------------------------------------------------

    def mim(self, command: str, cfg: Config, *arguments: str | Path) -> None:
        """Run ``mim COMMAND mmaction CONFIG ...``; show its progress, keep its whole output in COMMAND.log."""
        words = ['mim', command, 'mmaction', self.config, *arguments, *data_options(cfg, self.data)]
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.say(f'  {shlex.join(map(str, words))}')
        run([sys.executable, '-m', *map(str, words)], self.work_dir / f'{command}.log', self.say)


def data_options(cfg: Config, data: Path) -> list[str]:
    """What a config needs to be told if the clips are not where it says."""
    if Path(cfg.data_root) == data:
        return []
    options = ['--cfg-options']
    for split in ('train', 'val', 'test'):
        dataset = f'{split}_dataloader.dataset'
        options += [f'{dataset}.ann_file={data / split}.txt', f'{dataset}.data_prefix.video={data}']
    return options


def best_checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob('best_*.pth'))


def fingerprint(cfg: Config, spec: ShapesSpec) -> str:
    """All that a trained model depends on, as text: digests of the config with its base, the clips and the code."""
    code = b''.join(file.read_bytes() for part in MODEL_CODE for file in sorted((PACKAGE / part).glob('*.py')))
    parts = dict(config=cfg.pretty_text.encode(), clips=manifest(spec).encode(), code=code)
    return json.dumps({name: hashlib.sha256(text).hexdigest() for name, text in parts.items()}, indent=2) + '\n'


def run(command: Sequence[str], log: Path, say: Callable[[str], None]) -> None:
    """Run a command, say its progress, write everything into ``log``. Raises ``DemoError`` with the end of it."""
    tail: deque[str] = deque(maxlen=TAIL)
    environment = os.environ | {'PYTHONUNBUFFERED': '1'}
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors='replace',
        env=environment,
    )
    assert process.stdout is not None
    with log.open('w') as kept, process:
        for line in process.stdout:
            kept.write(line)
            tail.append(line)
            shown = progress(line)
            if shown:
                say(f'  {shown}')
    if process.returncode:
        raise DemoError(
            f'{shlex.join(command)}\nended with exit code {process.returncode}; its last lines (all are in {log}):\n\n'
            f'{"".join(tail)}\n`python tools/doctor.py` says what this installation lacks.'
        )


TRAIN_LINE = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\].* eta: (\S+) .* loss: (\S+)')
RESULT_LINE = re.compile(r'Epoch\((val|test)\)\s+(?:\[(\d+)\])?\[\s*\d+/\d+\].*acc/top1: (\S+)')


def progress(line: str) -> str | None:
    """A line of MMEngine's log in short, or ``None`` if it is about something else."""
    if match := TRAIN_LINE.search(line):
        epoch, step, steps, eta, loss = match.groups()
        return f'epoch {epoch:>2}, step {step:>{len(steps)}}/{steps}: loss {float(loss):.3f}, {eta} to go'
    if match := RESULT_LINE.search(line):
        split, epoch, accuracy = match.groups()
        when = f'epoch {epoch:>2}' if epoch else 'best epoch'
        return f'{when}, {"validation" if split == "val" else "held-out clips"}: top-1 {float(accuracy):.3f}'
    return None
