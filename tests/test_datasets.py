import re
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmaction.datasets import RepeatAugDataset
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from vidtx_mm.datasets import VideoListDataset, parse_line


@pytest.fixture
def write(tmp_path):
    def list_file(text):
        path = tmp_path / 'val.txt'
        path.write_text(text)
        return str(path)

    return list_file


def read(ann_file, **kwargs):
    return VideoListDataset(ann_file, [], **{'check_files': 'none', **kwargs}).load_data_list()


@pytest.mark.parametrize(
    ('line', 'delimiter', 'path', 'labels'),
    [
        ('a/b.mp4 3', 'auto', 'a/b.mp4', [3]),
        ('a/b.mp4,3', 'auto', 'a/b.mp4', [3]),
        ('a/b.mp4\t3', 'auto', 'a/b.mp4', [3]),
        ('my video 2.mp4 3', 'auto', 'my video 2.mp4', [3]),
        ('my video, part 2.mp4   3', 'auto', 'my video, part 2.mp4', [3]),
        ('one,two.mp4, 3', 'auto', 'one,two.mp4', [3]),
        ('"my video.mp4" 3', 'auto', 'my video.mp4', [3]),
        ('my video 7 3', ' ', 'my video 7', [3]),
        ('a b.mp4,3', ',', 'a b.mp4', [3]),
    ],
)
def test_lines(line, delimiter, path, labels):
    assert parse_line(line, delimiter, 1) == (path, labels)


@pytest.mark.parametrize(
    ('line', 'num_labels', 'expected'),
    [
        ('my video.mp4 3 0 12', None, ('my video.mp4', [3, 0, 12])),
        ('video.mp4,3', None, ('video.mp4', [3])),
        ('P01 clip 7.mp4 250 96', 2, ('P01 clip 7.mp4', [250, 96])),
        ('P01.mp4 250', 2, None),
        ('P01.mp4', None, None),
        ('P01.mp4 x', 1, None),
        ('3', 1, None),
    ],
)
def test_numbers_of_labels(line, num_labels, expected):
    assert parse_line(line, 'auto', num_labels) == expected


def test_entries_as_the_host_reads_them(write):
    entries = read(write('a.mp4 0\n\nb/c d.mp4 2\n'), data_prefix=dict(video='/data'), num_classes=3)
    assert entries == [dict(filename='/data/a.mp4', label=0), dict(filename='/data/b/c d.mp4', label=2)]


@pytest.mark.parametrize(
    ('text', 'kwargs', 'parts'),
    [
        ('a.mp4 0\nb.mp4\n', {}, ["line 2: 'b.mp4'", "'path label'", 'delimiter']),
        ('a.mp4 dog\n', {}, ["line 1: 'a.mp4 dog'", "'path label'", 'whole numbers']),
        ('a.mp4 0\n', dict(delimiter=','), ["line 1: 'a.mp4 0'", "'path,label'", "delimiter (now ',')"]),
        ('a.mp4 0\nb.mp4 7\n', dict(num_classes=7), ["line 2: 'b.mp4 7'", 'label 7', 'from 0 to 6', 'num_classes']),
        ('a.mp4 -1\n', dict(num_classes=7), ['label -1', 'from 0 to 6']),
        ('a.mp4 -1\n', {}, ['label -1', 'from 0 to num_classes - 1']),
        ('a.mp4 1 9\n', dict(num_classes=7, multi_class=True), ['label 9', 'from 0 to 6']),
        ('a.mp4\n', dict(num_classes=7, multi_class=True), ["'path label ...'"]),
        ('a.mp4 1\n', dict(class_splits=(4, 3)), ["'path label label'"]),
        ('a.mp4 1 3\n', dict(class_splits=(4, 3)), ['label 3', 'from 0 to 2']),
        ('\n', {}, ['is empty', "'path label'"]),
    ],
)
def test_bad_lists_get_one_message_with_the_remedy(write, text, kwargs, parts):
    with pytest.raises(ValueError) as error:
        read(write(text), **kwargs)
    for part in ['val.txt', *parts]:
        assert part in str(error.value)


def test_class_names_are_metainfo(write):
    """What MMEngine writes into checkpoints as ``dataset_meta``."""
    data = VideoListDataset(write('a.mp4 1\n'), [], check_files='none', classes=['clap', 'wave'])
    assert data.metainfo == {'classes': ('clap', 'wave')} and data.num_classes == 2
    epic = VideoListDataset(
        write('a.mp4 1 2\n'), [], check_files='none', classes='epic_kitchens100', class_splits=[300, 97]
    )
    assert epic.metainfo['classes'][300] == 'take'
    with pytest.raises(ValueError, match='label 2.* from 0 to 1'):
        VideoListDataset(write('a.mp4 2\n'), [], check_files='none', classes=['clap', 'wave'])
    with pytest.raises(ValueError, match="'kinetics400' has 400 names, but num_classes=10: set classes"):
        VideoListDataset(write('a.mp4 1\n'), [], check_files='none', classes='kinetics400', num_classes=10)


def test_missing_list_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.txt.*ann_file'):
        read(str(tmp_path / 'nowhere.txt'))


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(delimiter=';'), "delimiter=';'"),
        (dict(multi_class=True), 'num_classes'),
        (dict(num_repeats=2, test_mode=True), 'num_repeats=2'),
        (dict(num_repeats=0), 'num_repeats=0'),
        (dict(check_files='some'), "check_files='some'.*'sample'"),
        (dict(on_error='stop'), "on_error='stop'.*'raise'"),
    ],
)
def test_wrong_options(write, kwargs, message):
    with pytest.raises(ValueError, match=message):
        read(write('a.mp4 0'), **kwargs)


def test_label_vectors(write):
    multi = VideoListDataset(write('a.mp4 0 3'), [], check_files='none', num_classes=5, multi_class=True)
    assert torch.equal(multi.get_data_info(0)['label'], torch.tensor([1.0, 0, 0, 1, 0]))
    pair = VideoListDataset(write('a.mp4 3 0'), [], check_files='none', class_splits=(4, 3))
    assert torch.equal(pair.get_data_info(0)['label'], torch.tensor([0, 0, 0, 1.0, 1, 0, 0]))


@pytest.fixture
def videos(tmp_path):
    """Two videos with a space in the path, whose frames get lighter."""
    for name in ('a b.mp4', 'c.mp4'):
        writer = cv2.VideoWriter(str(tmp_path / name), cv2.VideoWriter_fourcc(*'mp4v'), 25, (64, 48))
        for t in range(12):
            writer.write(np.full((48, 64, 3), 20 * t, dtype=np.uint8))
        writer.release()
    (tmp_path / 'train.txt').write_text('a b.mp4 0\nc.mp4 1\n')
    return tmp_path


def pipeline(**sampling):
    return [
        dict(type='vidtx_mm.VideoInit'),
        dict(type='vidtx_mm.SampleClips', **sampling),
        dict(type='vidtx_mm.VideoDecode'),
        dict(type='vidtx_mm.RandAugment', policy='increasing', magnitude=7, num_ops=4, magnitude_std=0.5),
        dict(type='RandomResizedCrop'),
        dict(type='Resize', scale=(16, 16), keep_ratio=False),
        dict(type='Flip', flip_ratio=0.5),
        dict(type='vidtx_mm.NormalizedErasing', mean=[114.75] * 3, std=[57.375] * 3, mode='rand', erase_prob=0.5),
        dict(type='FormatShape', input_format='NCTHW'),
        dict(type='PackActionInputs'),
    ]


def test_repeated_augmentation_of_one_decoded_clip(videos):
    """A batch of two videos twice each, from a data loader of the runner: same frames, other augmentation."""
    init_default_scope('mmaction')
    dataset = dict(
        type='vidtx_mm.VideoListDataset',
        ann_file='train.txt',
        data_root=str(videos),
        data_prefix=dict(video=''),
        num_classes=2,
        num_repeats=2,
        pipeline=pipeline(protocol='uniformer', clip_len=4, frame_interval=2),
    )
    loader = Runner.build_dataloader(
        dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=False),
            collate_fn=dict(type='repeat_pseudo_collate'),
            dataset=dataset,
        ),
        seed=0,
    )
    (batch,) = loader
    assert [int(sample.gt_label) for sample in batch['data_samples']] == [0, 0, 1, 1]
    assert [tuple(x.shape) for x in batch['inputs']] == [(1, 3, 4, 16, 16)] * 4
    assert not torch.equal(batch['inputs'][0], batch['inputs'][1])


def test_repeats_see_the_same_frames_as_the_hosts_data_set(videos):
    init_default_scope('mmaction')
    steps = pipeline(protocol='uniformer', clip_len=4, frame_interval=2)
    plain = [*steps[:3], *steps[-2:]]
    kwargs = dict(ann_file='train.txt', data_root=str(videos), data_prefix=dict(video=''), num_repeats=3)
    np.random.seed(0)
    ours = VideoListDataset(pipeline=plain, **kwargs)[1]
    np.random.seed(0)
    (videos / 'train.txt').write_text('c.mp4 1\n')
    decord = [dict(type='DecordInit'), plain[1], dict(type='DecordDecode'), *plain[3:]]
    host = RepeatAugDataset(pipeline=decord, sample_once=True, **kwargs)[0]
    assert len(ours) == len(host) == 3
    for a, b in zip(ours, host, strict=True):
        assert torch.equal(a['inputs'], b['inputs'])


def test_without_repeats_one_clip(videos):
    init_default_scope('mmaction')
    steps = pipeline(protocol='vivit', clip_len=4, frame_interval=2, num_clips=2, test_mode=True)
    data = VideoListDataset(
        'train.txt', [*steps[:3], *steps[-2:]], data_root=str(videos), data_prefix=dict(video=''), test_mode=True
    )
    assert tuple(data[0]['inputs'].shape) == (2, 3, 4, 48, 64)


def test_frame_folders_by_the_change_that_the_docs_name(tmp_path):
    """The command of docs/data.md makes a config of frame folders, whose data set reads frames."""
    root = Path(__file__).resolve().parents[1]
    (command,) = re.findall(r'```bash\n(sed .*?)```', (root / 'docs/data.md').read_text(), re.DOTALL)
    config = tmp_path / 'uniformer_s_ssv1_frames.py'
    subprocess.run(command.replace('> ', f'> {tmp_path}/'), shell=True, cwd=root, check=True)
    (tmp_path / 'a').mkdir()
    for number in range(1, 21):
        cv2.imwrite(str(tmp_path / f'a/{number:05}.jpg'), np.full((48, 64, 3), 10 * number, np.uint8))
    (tmp_path / 'list.txt').write_text('a 20 3\n')
    cfg = Config.fromfile(config)
    init_default_scope('mmaction')
    for part in ('train', 'val', 'test'):
        settings = cfg[f'{part}_dataloader'].dataset.to_dict()
        data = DATASETS.build(settings | dict(ann_file=str(tmp_path / 'list.txt'), data_prefix=dict(img=str(tmp_path))))
        clip = data[0]
        assert int(clip['data_samples'].gt_label) == 3
        assert clip['inputs'].shape[2] == 16


def test_a_byte_order_mark_is_no_part_of_the_first_path(tmp_path):
    (tmp_path / 'a.txt').write_text('ä b.mp4 0\n', encoding='utf-8-sig')
    assert read(str(tmp_path / 'a.txt'))[0]['filename'] == 'ä b.mp4'


@pytest.mark.parametrize(('encoding', 'line'), [('latin1', 2), ('utf-16', 1)])
def test_other_encodings_are_named_with_the_line(tmp_path, encoding, line):
    (tmp_path / 'a.txt').write_text('a.mp4 0\nä.mp4 1\n', encoding=encoding)
    with pytest.raises(ValueError, match=f'a.txt line {line} is not UTF-8 .*iconv'):
        read(str(tmp_path / 'a.txt'))


@pytest.mark.parametrize(
    ('path', 'prefix', 'filename'),
    [
        ('a.mp4', 's3://bucket/videos', 's3://bucket/videos/a.mp4'),
        ('https://host/a.mp4', '/data', 'https://host/a.mp4'),
        ('s3://bucket/a.mp4', '', 's3://bucket/a.mp4'),
        ('/abs/a.mp4', '/data', '/abs/a.mp4'),
        ('a.mp4', '', 'a.mp4'),
    ],
)
def test_addresses_stay_whole(write, path, prefix, filename):
    assert read(write(f'{path} 0\n'), data_prefix=dict(video=prefix))[0]['filename'] == filename


def test_comments_are_left_out_and_names_with_a_hash_are_not(write):
    entries = read(write('# path label\n#\n#437_How_To.avi 1\n  # more\na.mp4 0\n'))
    assert [entry['filename'] for entry in entries] == ['#437_How_To.avi', 'a.mp4']


def test_one_path_with_two_labels_is_refused(write):
    with pytest.raises(ValueError, match=r"val.txt line 3: 'a.mp4 1' gives a second label.* label 0 above"):
        read(write('a.mp4 0\nb.mp4 1\na.mp4 1\n'))
    assert len(read(write('a.mp4 0\na.mp4 0\n'))) == 2


def test_lists_of_frame_folders_are_refused(write):
    with pytest.raises(ValueError, match=r"val.txt line 1: 'dir 120 1' .*RawframeDataset"):
        read(write('dir 120 1\nother/dir 88 0\n'))
    assert read(write('clip 7 3\nb.mp4 1\n'))[0]['filename'] == 'clip 7'


def test_missing_files_are_one_error_with_the_resolved_paths(videos):
    (videos / 'train.txt').write_text(''.join(f'{index}.mp4 0\n' for index in range(8)) + 'c.mp4 1\n')
    options = dict(pipeline=[], data_root=str(videos), data_prefix=dict(video=''))
    with pytest.raises(FileNotFoundError) as error:
        VideoListDataset('train.txt', **options)
    text = str(error.value)
    assert '8 of 9 files looked for are missing' in text and 'data_prefix' in text
    assert f'{videos}/0.mp4' in text and f'{videos}/4.mp4' in text and f'{videos}/5.mp4' not in text
    assert len(VideoListDataset('train.txt', check_files='none', **options)) == 9


def test_a_sample_or_all_of_the_files_are_looked_for(videos):
    lines = ['c.mp4 1\n'] * 639
    (videos / 'train.txt').write_text(''.join([*lines[:5], 'none.mp4 1\n', *lines[5:]]))
    options = dict(pipeline=[], data_root=str(videos), data_prefix=dict(video=''))
    assert len(VideoListDataset('train.txt', **options)) == 640
    with pytest.raises(FileNotFoundError, match='1 of 640 files'):
        VideoListDataset('train.txt', check_files='all', **options)


def test_long_lists_are_read_in_time(tmp_path):
    """300,000 lines in 3 seconds of processor time."""
    path = tmp_path / 'long.txt'
    path.write_text(''.join(f'class {i % 400}/clip_{i:06}_000010_000020.mp4 {i % 400}\n' for i in range(300_000)))
    start = time.process_time()
    data = VideoListDataset(str(path), [], num_classes=400, check_files='none')
    assert time.process_time() - start < 3
    assert data.get_data_info(299_999)['filename'] == 'class 399/clip_299999_000010_000020.mp4'
