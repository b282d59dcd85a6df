"""make-lists: the lists that configs name, from small copies of the official files."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config

from vidtx_mm.apis.configs import find_config
from vidtx_mm.apis.make_lists import make_lists
from vidtx_mm.cli import main
from vidtx_mm.labels import class_names


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines()


def index(data_set: str, name: str) -> int:
    return class_names(data_set).index(name)


HEADER = 'label,youtube_id,time_start,time_end,split\n'


@pytest.mark.parametrize('val_name', ['val.csv', 'validate.csv'])
def test_kinetics(val_name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    touch(
        tmp_path,
        'videos_train/air_drumming/-abcdefghij_000010_000020.mp4',
        'videos_train/zumba/plainid0000.mkv',
        'videos_val/0wR5jVB-WPk_000417_000427.mp4',
    )
    notes = tmp_path / 'annotations'
    notes.mkdir()
    rows = '"air drumming",-abcdefghij,10.0,20.0,train\nzumba,plainid0000,1,11,train\nzumba,missing0000,1,11,train\n'
    (notes / 'train.csv').write_text(HEADER + rows)
    (notes / val_name).write_text(HEADER + 'abseiling,0wR5jVB-WPk,417,427,val\n')
    assert main(['make-lists', 'kinetics400', str(tmp_path), '--annotations', str(notes)]) == 0
    out = capsys.readouterr().out
    assert '2 clips, published: 240,436, 1 missing' in out and '1 clips, published: 19,796' in out
    assert lines(tmp_path / 'kinetics400_train_list_videos.txt') == [
        f'air_drumming/-abcdefghij_000010_000020.mp4 {index("kinetics400", "air drumming")}',
        f'zumba/plainid0000.mkv {index("kinetics400", "zumba")}',
    ]
    assert lines(tmp_path / 'kinetics400_val_list_videos.txt') == ['0wR5jVB-WPk_000417_000427.mp4 0']
    assert lines(tmp_path / 'kinetics400_train_list_videos_missing.txt') == ['missing0000_000001_000011']


@pytest.mark.parametrize('prefix', ['', 'something-something-v2-'])
def test_something_v2(prefix: str, tmp_path: Path) -> None:
    touch(tmp_path, 'videos/78687.webm', 'videos/74225.webm')
    clip = dict(id='78687', template='Holding [something] next to [something]', label='holding a cup next to a plate')
    (tmp_path / f'{prefix}train.json').write_text(json.dumps([clip]))
    (tmp_path / f'{prefix}validation.json').write_text(json.dumps([dict(clip, id='74225')]))
    train, val = make_lists('ssv2', tmp_path / 'videos', tmp_path, tmp_path)
    label = index('sthv2', 'Holding something next to something')
    assert lines(tmp_path / 'sthv2_train_list_videos.txt') == [f'78687.webm {label}']
    assert lines(val.file) == [f'74225.webm {label}'] and (train.published, val.published) == (168913, 24777)


def test_something_v1_frames(tmp_path: Path) -> None:
    touch(tmp_path, *(f'rawframes/{clip}/{number:05}.jpg' for clip in (100218, 42) for number in range(1, 4)))
    (tmp_path / 'something-something-v1-train.csv').write_text('100218;Holding something\n')
    (tmp_path / 'something-something-v1-validation.csv').write_text('42;Holding something\n')
    make_lists('ssv1', tmp_path / 'rawframes', tmp_path, tmp_path)
    assert lines(tmp_path / 'sthv1_train_list_rawframes.txt') == ['100218 3 0']
    assert lines(tmp_path / 'sthv1_val_list_rawframes.txt') == ['42 3 0']


EPIC_HEADER = (
    'narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,stop_frame,'
    'narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes\n'
)


def epic_row(name: str, verb: object, noun: object) -> str:
    times = '00:00:01.089,00:00:00.14,00:00:03.37,8,202'
    return f'{name},P01,P01_01,{times},"open, slowly",open,{verb},door,{noun},"[\'door\', \'cup\']","[3, 13]"\n'


def test_epic_kitchens(tmp_path: Path) -> None:
    """Segments have the names of their narrations; a line has the noun first, as the heads of the config."""
    touch(tmp_path, 'segments/P01_01_0.mp4', 'segments/P08/P08_09_7.mp4')
    (tmp_path / 'EPIC_100_train.csv').write_text(
        EPIC_HEADER + epic_row('P01_01_0', 3, 299) + epic_row('P01_01_1', 1, 1)
    )
    (tmp_path / 'EPIC_100_validation.csv').write_text(EPIC_HEADER + epic_row('P08_09_7', 96, 0))
    train, val = make_lists('epic_kitchens100', tmp_path / 'segments', tmp_path, tmp_path)
    config = Config.fromfile(find_config('vivit_l_fe_epic'))
    assert [Path(config.ann_file_train).name, Path(config.ann_file_val).name] == [train.file.name, val.file.name]
    assert lines(train.file) == ['P01_01_0.mp4 299 3'] and train.missing == ['P01_01_1']
    assert lines(val.file) == ['P08/P08_09_7.mp4 0 96'] and (train.published, val.published) == (67217, 9668)
    for row, message in ((epic_row('P01_01_0', 97, 1), 'verb 97; there are 300 nouns and 97 verbs'), ('a,b\n', 'None')):
        (tmp_path / 'EPIC_100_train.csv').write_text(EPIC_HEADER + row)
        with pytest.raises(ValueError, match=f'EPIC_100_train.csv line 2: .*{message}'):
            make_lists('epic_kitchens100', tmp_path / 'segments', tmp_path, tmp_path)


def test_ucf101(tmp_path: Path) -> None:
    touch(tmp_path, 'videos/Archery/v_Archery_g08_c01.avi', 'videos/Archery/v_Archery_g01_c01.avi')
    (tmp_path / 'trainlist02.txt').write_text('Archery/v_Archery_g08_c01.avi 3\r\n')
    (tmp_path / 'testlist02.txt').write_text('Archery/v_Archery_g01_c01.avi\r\n')
    train, val = make_lists('ucf101', tmp_path / 'videos', tmp_path, tmp_path, split=2)
    assert train.file.name == 'ucf101_train_split_2_videos.txt' and train.published == 9586
    assert lines(train.file) == ['Archery/v_Archery_g08_c01.avi 2']
    assert lines(val.file) == ['Archery/v_Archery_g01_c01.avi 2']


def test_hmdb51(tmp_path: Path) -> None:
    touch(tmp_path, 'videos/catch/#1 (a)&b!.avi', 'videos/catch/c.avi', 'videos/catch/d.avi')
    for name in class_names('hmdb51'):
        text = '#1(a)&b!.avi 1\nc.avi 2\nd.avi 0\n' if name == 'catch' else ''
        (tmp_path / f'{name}_test_split1.txt').write_text(text)
    (tmp_path / 'videos/catch/#1 (a)&b!.avi').rename(tmp_path / 'videos/catch/#1(a)&b!.avi')
    make_lists('hmdb51', tmp_path / 'videos', tmp_path, tmp_path)
    label = index('hmdb51', 'catch')
    assert lines(tmp_path / 'hmdb51_train_split_1_videos.txt') == [f'catch/#1(a)&b!.avi {label}']
    assert lines(tmp_path / 'hmdb51_val_split_1_videos.txt') == [f'catch/c.avi {label}']


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f'{name}/{number} x.mp4' for name in ('wave', 'clap') for number in range(5)))
    train, val = make_lists('folder', tmp_path, tmp_path)
    assert lines(tmp_path / 'classes.txt') == ['clap', 'wave']
    assert (train.count, val.count) == (8, 2)
    assert {line.split()[-1] for line in lines(val.file)} == {'0', '1'}


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    touch(tmp_path, 'a.mp4')
    with pytest.raises(ValueError, match="data_set='k400': choose one of 'kinetics400'"):
        make_lists('k400', tmp_path, tmp_path)
    with pytest.raises(ValueError, match='--annotations'):
        make_lists('ssv2', tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match='holds none of train.json'):
        make_lists('ssv2', tmp_path, tmp_path, tmp_path)
    with pytest.raises(NotADirectoryError, match='no such folder'):
        make_lists('ssv2', tmp_path / 'none', tmp_path, tmp_path)
    for name in ('train.csv', 'val.csv'):
        (tmp_path / name).write_text(HEADER + 'unheard of,abc,1,2,train\n')
    with pytest.raises(ValueError, match="train.csv line 2: 'unheard of' is no class of kinetics400"):
        make_lists('kinetics400', tmp_path, tmp_path, tmp_path)
    for name in ('train.csv', 'val.csv'):
        (tmp_path / name).write_text(HEADER + 'zumba,abc,1,2,train\n')
    with pytest.raises(ValueError, match='none of the annotated clips, such as abc_000001_000002'):
        make_lists('kinetics400', tmp_path, tmp_path, tmp_path)
