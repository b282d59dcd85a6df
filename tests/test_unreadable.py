"""Videos that cannot be read: what data set, log and hook make of them."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import torch
from mmaction.evaluation import AccMetric
from mmengine.registry import init_default_scope
from videos import write_video

from vidtx_mm.datasets import UnreadableClip, VideoListDataset
from vidtx_mm.datasets.unreadable import add_line
from vidtx_mm.video import VideoError

PIPELINE = [
    dict(type='vidtx_mm.VideoInit'),
    dict(type='vidtx_mm.SampleClips', protocol='uniformer', clip_len=4, frame_interval=2),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='Resize', scale=(16, 16), keep_ratio=False),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two sound videos and a broken one."""
    for name in ('a.mp4', 'c.mp4'):
        write_video(tmp_path / name)
    (tmp_path / 'b.mp4').write_text('no video')
    (tmp_path / 'list.txt').write_text('a.mp4 0\nb.mp4 1\nc.mp4 2\n')
    return tmp_path


def data_set(folder: Path, **kwargs: Any) -> VideoListDataset:
    init_default_scope('mmaction')
    return VideoListDataset(
        'list.txt', PIPELINE, num_classes=3, data_root=str(folder), data_prefix=dict(video=''), **kwargs
    )


def test_training_draws_another_and_writes_down_once(folder: Path) -> None:
    data = data_set(folder, bad_videos=str(folder / 'bad.txt'))
    labels = [int(data[1]['data_samples'].gt_label) for _ in range(10)]
    assert set(labels) <= {0, 2}
    (line,) = (folder / 'bad.txt').read_text().splitlines()
    name, reason = line.split('\t')
    assert name == str(folder / 'b.mp4')
    assert 'Invalid data' in reason


def test_repeated_augmentation_draws_another(folder: Path) -> None:
    assert len(data_set(folder, num_repeats=2)[1]) == 2


def test_strict_data_sets_raise(folder: Path) -> None:
    with pytest.raises(VideoError, match='b.mp4: Invalid data'):
        data_set(folder, on_error='raise')[1]


@pytest.mark.parametrize('labels', [dict(), dict(multi_class=True)])
def test_test_mode_counts_it_as_wrong(folder: Path, labels: dict) -> None:
    data = data_set(folder, test_mode=True, **labels)
    clips = [data[index] for index in range(3)]
    assert [tuple(clip['inputs'].shape) for clip in clips] == [(1, 3, 4, 16, 16)] * 3
    samples = [clip['data_samples'].to('cpu') for clip in clips]
    assert [isinstance(sample, UnreadableClip) for sample in samples] == [False, True, False]
    for sample, label in zip(samples, range(3), strict=True):
        sample.set_pred_score(torch.eye(3)[label])
        sample.set_pred_label(torch.tensor([label]))
    assert samples[1].filename == str(folder / 'b.mp4')
    assert int(samples[1].pred_label) != 1
    assert samples[1].pred_score.argmin() == 1
    if not labels:
        metric = AccMetric(metric_list=('top_k_accuracy', 'mean_class_accuracy'))
        metric.process(None, [sample.to_dict() for sample in samples])
        result = metric.evaluate(3)
        assert result['acc/top1'] == result['acc/mean1'] == pytest.approx(2 / 3)


def test_many_unreadable_videos_are_a_wrong_path(folder: Path) -> None:
    (folder / 'list.txt').write_text(''.join(f'{name}.mp4 0\n' for name in 'aaaaaaab' * 10))
    data = data_set(folder, test_mode=True)
    for index in range(49):
        data[index]
    with pytest.raises(VideoError, match=r'7 of 56 videos could not be read, the last one .*b.mp4 .*data_root'):
        for index in range(49, 80):
            data[index]


def append(path: Path) -> None:
    for index in range(20):
        add_line(path, f'/data/{index}.mp4', 'a reason\nof two lines')


def test_several_processes_write_each_name_once(tmp_path: Path) -> None:
    path = tmp_path / 'bad.txt'
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=append, args=(path,)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    lines = path.read_text().splitlines()
    assert sorted(lines) == sorted(f'/data/{index}.mp4\ta reason of two lines' for index in range(20))


def test_a_video_that_vanishes_during_the_run(folder: Path) -> None:
    data = data_set(folder, test_mode=True, bad_videos=str(folder / 'bad.txt'))
    (folder / 'a.mp4').unlink()
    assert isinstance(data[0]['data_samples'], UnreadableClip)
    assert (folder / 'bad.txt').read_text() == f'{folder / "a.mp4"}\tNo such file or directory\n'


def test_one_pixel_and_strips_do_not_blow_up(folder: Path) -> None:
    """Resizing a strip by its short side would make it thousands of pixels long."""
    write_video(folder / 'a.mp4', size=(1, 1), pix_fmt='yuv444p')
    write_video(folder / 'c.mp4', size=(16, 1280))
    pipeline = [*PIPELINE[:3], dict(type='vidtx_mm.ResizeShortSide', size=320), *PIPELINE[3:]]
    init_default_scope('mmaction')
    options = dict(data_root=str(folder), data_prefix=dict(video=''), test_mode=True)
    data = VideoListDataset('list.txt', pipeline, **options)
    assert [isinstance(data[index]['data_samples'], UnreadableClip) for index in (0, 2)] == [False, True]
