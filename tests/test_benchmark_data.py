"""vidtx benchmark-data: structure of the rows and the clips that are measured, without timings."""

import json
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope

from vidtx_mm.benchmark.data import Side, leak, measure, table, write_video
from vidtx_mm.benchmark.data_side import Clips
from vidtx_mm.cli import main

PIPELINE = """
train_pipeline = [
    dict(type='DecordInit'),
    dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=2, frame_interval=2),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, {size})),
    dict(type='RandomCrop', size=16),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
"""
STEPS = ['DecordInit', 'SampleClips', 'DecordDecode', 'Resize', 'RandomCrop', 'FormatShape', 'PackActionInputs']


@pytest.fixture(scope='module')
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    file = tmp_path_factory.mktemp('videos') / 'a.mp4'
    write_video(file, 64, 48, frames=12)
    return [str(file)]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / 'configs' / 'tiny.py'
    file.parent.mkdir()
    file.write_text(PIPELINE.format(size=32))
    return file


def test_clips_of_a_config(config: Path, videos: list[str]) -> None:
    with DefaultScope.overwrite_default_scope('mmaction'):
        clips = Clips(str(config), videos, {'host': True})
        assert clips[3].shape == (1, 3, 2, 16, 16) and (clips[3] == clips[3]).all(), 'the same seed, the same clip'
        result = clips.run(0, 2)
        assert clips.load(workers=0, count=4) > 0
        assert len(clips.leak(20)) == 10
    assert [name for name, _ in result['steps']] == STEPS
    assert all(time >= 0 for _, time in result['steps']) and result['per_second'] > 0


def test_sides_run_in_turn(config: Path, videos: list[str], tmp_path: Path) -> None:
    """Another checkout is an empty folder here: its config counts, and the package is found as installed."""
    other = tmp_path / 'other' / 'configs' / 'tiny.py'
    other.parent.mkdir(parents=True)
    other.write_text(PIPELINE.format(size=20))
    sides = [Side('ours'), Side('before', checkout=other.parents[1])]
    rows = [dict(row, video='64x48') for row in measure(config, videos, sides, rounds=2, clips=1, workers=0)]
    assert [row['side'] for row in rows] == ['ours', 'before']
    assert rows[1]['ratio'] == dict(median=1.0, least=1.0, most=1.0)
    assert all(row['total'] == pytest.approx(sum(time for _, time in row['steps']), rel=0.5) for row in rows)
    json.dumps(rows)
    lines = table(rows).splitlines()
    assert len(lines) == 4 and len({line.count('|') for line in lines}) == 1


def test_a_side_that_fails_is_named(config: Path, videos: list[str]) -> None:
    config.write_text('train_pipeline = [dict(type="NoSuchTransform")]')
    with pytest.raises(RuntimeError, match='ours: the process ended with an error'):
        leak(config, videos, 10)


def test_a_size_that_is_none(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['benchmark-data', str(config), '--size', '340']) == 2
    assert "'340' is not a size such as 340x256" in capsys.readouterr().err
