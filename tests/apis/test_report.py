"""The report of a run: its numbers, its files, and its page in a real browser."""

import csv
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from vidtx_mm.apis.report import make_report, read_frames
from vidtx_mm.cli import main
from vidtx_mm.demo.shapes import CLASSES

BROWSER = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
CHECK = """<script>
addEventListener('load', () => {
  const seen = [...document.images].map(image => image.naturalWidth > 100 && image.getClientRects().length > 0)
  const order = () => [...document.querySelectorAll('tbody tr')].map(row => row.cells[0].textContent)
  const before = order(), heads = document.querySelectorAll('th')
  heads[0].click(); const rising = order(); heads[0].click()
  document.body.dataset.found = JSON.stringify({seen, before, rising, falling: order()})
})
</script>"""


@pytest.fixture(scope='module')
def run(demo_run: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with a log as MMEngine writes it."""
    folder = tmp_path_factory.mktemp('reported')
    for file in demo_run.work_dir.glob('*.*'):
        shutil.copy(file, folder)
    rows = [dict(loss=2.0 / step, lr=0.1, iter=step, step=step, epoch=step, top1_acc=0.1 * step) for step in (1, 2, 3)]
    rows += [{'acc/top1': 0.25 * step, 'step': step} for step in (1, 2, 3)]
    (folder / '20260101_000000/vis_data').mkdir(parents=True)
    (folder / '20260101_000000/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope='module')
def report(run: Path) -> Any:
    return make_report(run)


def test_numbers_are_those_of_the_hosts_test(
    report: Any, run: Path, demo_run: Any, run_mim: Callable[..., str], tmp_path: Path
) -> None:
    """``mim test`` on the same run; its dump gives the same report without another test."""
    arguments = ['--checkpoint', demo_run.checkpoint, '--dump', 'dump.pkl']
    output = run_mim(['test', 'mmaction', demo_run.config, *arguments], tmp_path)
    (*_, top1) = re.findall(r'acc/top1: ([\d.]+)', output)
    assert report.top1 == pytest.approx(float(top1), abs=1e-4)
    again = make_report(run, out=tmp_path / 'again', dump=tmp_path / 'dump.pkl')
    assert (again.top1, again.top5, again.clips) == (report.top1, report.top5, report.clips)
    with pytest.raises(ValueError, match='dump.pkl: its .* labels differ'):
        make_report(run, split='val', out=tmp_path / 'val', dump=_shortened(tmp_path / 'dump.pkl'))


def _shortened(dump: Path) -> Path:
    import mmengine

    mmengine.dump(mmengine.load(dump)[1:], dump)
    return dump


def test_files(report: Any, run: Path) -> None:
    folder = run / 'report'
    names = {'report.html', 'curves.png', 'confusion.png', 'calibration.png', 'predictions.png'}
    names |= {'per_class.csv', 'confusion.csv', 'predictions.csv'}
    assert {path.name for path in folder.iterdir()} == names
    rows = list(csv.DictReader((folder / 'per_class.csv').open()))
    assert [row['class'] for row in rows] == list(CLASSES)
    assert sum(int(row['clips']) for row in rows) == report.clips
    for path in folder.glob('*.png'):
        assert imread(path)[..., :3].std() > 0.02, f'{path.name} is blank'
    assert 'src="http' not in (folder / 'report.html').read_text()


@pytest.mark.skipif(BROWSER is None, reason='no Chromium here')
def test_page_in_a_browser(report: Any, tmp_path: Path) -> None:
    """It opens without a console error, its pictures are visible, and its table sorts."""
    page = tmp_path / 'page.html'
    page.write_text(report.page.read_text().replace('</body>', f'{CHECK}</body>'))
    words = '--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync'
    command = [BROWSER, *words.split(), '--disable-component-update', '--enable-logging=stderr', '--v=0']
    arguments = [f'--user-data-dir={tmp_path / "profile"}', '--dump-dom', f'file://{page}']
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)  # type: ignore
    assert 'CONSOLE' not in done.stderr, done.stderr[-2000:]
    (found,) = re.findall(r'data-found="([^"]*)"', done.stdout)
    seen = json.loads(found.replace('&quot;', '"'))
    assert seen['seen'] == [True] * 4
    assert seen['before'] == list(CLASSES)
    assert seen['rising'] == sorted(CLASSES) and seen['falling'] == sorted(CLASSES, reverse=True)


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['report', str(run), '--split', 'val', '--out', str(tmp_path / 'out')]) == 0
    assert re.search(r'out/report.html: top-1 [\d.]+, top-5 [\d.]+', capsys.readouterr().out)
    assert main(['report', str(tmp_path)]) == 2
    assert 'has no training log' in capsys.readouterr().err


def test_an_unreadable_video_is_named_and_counts_as_wrong(run: Path, clips: Any, tmp_path: Path) -> None:
    copy = tmp_path / 'run'
    shutil.copytree(run, copy)
    names = clips.val.read_text().splitlines()
    (tmp_path / 'cut.mp4').write_bytes((clips.root / 'val_0.mp4').read_bytes()[:300])
    (tmp_path / 'list.txt').write_text('\n'.join([*names[1:], f'{tmp_path}/cut.mp4 3']))
    config = copy / 'swin3d_shapes.py'
    config.write_text(config.read_text().replace(str(clips.val), str(tmp_path / 'list.txt')))
    found = make_report(copy)
    assert found.clips == len(names) and 'cut.mp4' in found.page.read_text()


def test_frames_are_spread_over_the_video(clips: Any) -> None:
    frames = read_frames(str(clips.root / 'val_0.mp4'), 4)
    assert frames.shape[0] == 4 and frames.dtype == np.uint8
    assert len(read_frames(str(clips.root / 'val_0.mp4'), 500)) < 500
