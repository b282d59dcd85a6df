"""Demo: generate clips, train and test with ``mim``, and plot the results.

A second run reuses the clips if their spec is the same, and the trained model if config, clips and model code are.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from mmengine.config import Config

from vidtx_mm.apis.host import run_logged
from vidtx_mm.apis.report import Report, make_report

from .shapes import ShapesSpec, make_shapes, manifest

PACKAGE = Path(__file__).resolve().parents[1]
MODEL_CODE = ('backbones', 'heads', 'layers')


class DemoError(RuntimeError):
    """A step failed; the message names the step, the cause and the remedy."""


@dataclass(frozen=True)
class Demo:
    """One config trained and tested on generated clips; relative paths start at the working directory."""

    config: Path
    data: Path
    work_dir: Path
    spec: ShapesSpec = ShapesSpec()
    say: Callable[[str], None] = print

    def run(self) -> Report:
        """Run all steps and return the report. Raises ``DemoError`` or ``HostError`` if one fails."""
        cfg = Config.fromfile(self.config)
        self.say(f'[1/4] clips in {self.data}')
        if not make_shapes(self.data, self.spec, lambda line: self.say(f'  {line}')):
            self.say('  reused')
        trained = self.train(cfg)
        dump = self.test(cfg, trained)
        self.say('[4/4] report')
        report = make_report(trained, out=self.work_dir, dump=dump)
        self.say(f'  {report.page}')
        return report

    # -- steps ---------------------------------------------------------------------------------------------------

    def train(self, cfg: Config) -> Path:
        """Return the folder of the training run, with the checkpoint of the best epoch; train if there is none."""
        folder = self.work_dir / 'train'
        note = folder / 'trained.json'
        wanted = fingerprint(cfg, self.spec)
        if note.is_file() and note.read_text() == wanted and len(best_checkpoints(folder)) == 1:
            self.say(f'[2/4] training: reused {folder}: same config, clips and model code (delete it to retrain)')
            return folder
        self.say(f'[2/4] training for {cfg.train_cfg.max_epochs} epochs; the first line takes some seconds')
        for old in (note, *best_checkpoints(folder)):
            old.unlink(missing_ok=True)
        start = monotonic()
        self.mim('train', cfg, '--work-dir', folder)
        if len(best_checkpoints(folder)) != 1:
            raise DemoError(f'{folder} has no best_*.pth after training; see {self.work_dir / "train.log"}')
        note.write_text(wanted)
        self.say(f'  trained in {monotonic() - start:.0f} s')
        return folder

    def test(self, cfg: Config, trained: Path) -> Path:
        """Test on the held-out clips and return the file of scores."""
        checkpoint, dump = best_checkpoints(trained)[0], self.work_dir / 'predictions.pkl'
        self.say(f'[3/4] testing {checkpoint.name} on the held-out clips')
        dump.unlink(missing_ok=True)
        self.mim('test', cfg, '--checkpoint', checkpoint, '--work-dir', self.work_dir / 'test', '--dump', dump)
        return dump

    # -- mim -----------------------------------------------------------------------------------------------------

    def mim(self, command: str, cfg: Config, *arguments: str | Path) -> None:
        """Run ``mim COMMAND mmaction CONFIG ...``, show its progress and write its output to COMMAND.log."""
        words = ['mim', command, 'mmaction', self.config, *arguments, *data_options(cfg, self.data)]
        self.work_dir.mkdir(parents=True, exist_ok=True)
        self.say(f'  {shlex.join(map(str, words))}')
        run_logged([sys.executable, '-m', *map(str, words)], self.work_dir / f'{command}.log', self.say)


def summary(report: Report) -> str:
    """Return the last line of the demo. The accuracy is rounded down, so that 0.95 means at least 0.95."""
    percent = 100 * report.correct // report.clips
    return f'demo: top-1 {percent // 100}.{percent % 100:02d} on {report.clips} held-out clips'


def data_options(cfg: Config, data: Path) -> list[str]:
    """Return the options that point a config to ``data``, none if it does already."""
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
    """Return digests of all that a trained model depends on: the resolved config, the clips and the model code."""
    code = b''.join(file.read_bytes() for part in MODEL_CODE for file in sorted((PACKAGE / part).glob('*.py')))
    parts = dict(config=cfg.pretty_text.encode(), clips=manifest(spec).encode(), code=code)
    return json.dumps({name: hashlib.sha256(text).hexdigest() for name, text in parts.items()}, indent=2) + '\n'
