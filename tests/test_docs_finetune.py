"""The commands of docs/finetune.md, in order, on fewer clips and for one epoch."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from vidtx_mm.apis.recognizer import load_recognizer
from vidtx_mm.cli import main
from vidtx_mm.demo.shapes import CLASSES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / 'docs/finetune.md').read_text(encoding='utf-8')
LESS = (
    ('--train 1280', '--train 32'),
    ('--from-scratch', '--from-scratch --epochs 1'),
    ('--epochs 1 --epochs 2', '--epochs 2'),
)


def commands() -> list[str]:
    return [line for block in re.findall(r'```bash\n(.*?)```', PAGE, re.DOTALL) for line in block.splitlines()]


def test_commands_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands():
        for words, fewer in LESS:
            command = command.replace(words, fewer)
        program, *words = shlex.split(command)
        if program == 'python':
            monkeypatch.setattr(sys, 'argv', words)
            runpy.run_path(str(ROOT / words[0]), run_name='__main__')
        elif program == 'vidtx':
            assert main(words) == 0, f'{command}\n{capsys.readouterr().err}'
        else:
            assert program == 'ls' and Path(words[0]).is_dir()
    run = Path('work_dirs/swin3d_shapes_shapes')
    for name in re.findall(
        r'`((?:data/|config/|report/)?[\w*]+\.\w+)`', PAGE.split('| file | content |')[1].split('\n\n')[0]
    ):
        assert list(run.glob(name)), f'the page names {name}, which the run did not write'
    assert re.search(r'^finetune: top-1 \d\.\d\d on 8 validation clips, ', capsys.readouterr().out, re.MULTILINE)
    recognizer = load_recognizer(run=run)
    assert set(recognizer.classes) == set(CLASSES) and 'best_acc_top1' in recognizer.checkpoint
    assert main(['finetune', 'shapes', '--config', 'swin3d_shapes', '--from-scratch']) == 2
    assert 'holds a run already: go on with `vidtx train' in capsys.readouterr().err
    assert Path('growing.json').is_file() and Path('left.csv').is_file()
