"""Prediction: the scores of the host's own test, class names, bad videos, and errors that name the remedy."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmengine
import numpy as np
import pytest
import torch

import vidtx_mm
from vidtx_mm.apis.predict import find_videos, predict
from vidtx_mm.apis.recognizer import find_device, find_run, load_recognizer
from vidtx_mm.cli import main
from vidtx_mm.demo.shapes import CLASSES
from vidtx_mm.weights import CheckpointError


@pytest.fixture(scope='module')
def recognizer(demo_run: Any) -> Any:
    return load_recognizer(run=demo_run.work_dir)


def test_scores_are_those_of_the_hosts_test(
    demo_run: Any, recognizer: Any, clips: Any, run_mim: Callable[..., str], tmp_path: Path
) -> None:
    """``mim test --dump`` on the same files."""
    run_mim(['test', 'mmaction', demo_run.config, '--checkpoint', demo_run.checkpoint, '--dump', 'dump.pkl'], tmp_path)
    dumped = np.stack([sample['pred_score'].numpy() for sample in mmengine.load(tmp_path / 'dump.pkl')])
    assert dumped.std(0).max() > 1e-3, 'scores must differ between clips'
    videos = [clips.root / line.split()[0] for line in clips.val.read_text().splitlines()]
    found = list(predict(recognizer, videos, topk=8, batch=2))
    scores = np.zeros_like(dumped)
    for row, result in zip(scores, found, strict=True):
        for one in result['predictions']:
            row[one['index']] = one['score']
    np.testing.assert_allclose(scores, dumped, rtol=0, atol=1e-4)


def test_predictions_carry_names_best_first(recognizer: Any, clips: Any) -> None:
    (result,) = predict(recognizer, [clips.root / 'val_0.mp4'], topk=3)
    assert result['error'] is None and len(result['predictions']) == 3
    scores = [one['score'] for one in result['predictions']]
    assert scores == sorted(scores, reverse=True)
    assert all(one['label'] == CLASSES[one['index']] for one in result['predictions'])


def test_probabilities_of_scores_averaged_before_the_softmax(demo_run: Any, clips: Any) -> None:
    """The score stays the host's; the probability is that of a head that averages after the softmax, for one view."""
    change = {'model.cls_head.average_clips': 'score'}
    raw = load_recognizer(demo_run.config, demo_run.checkpoint, cfg_options=change)
    video = [clips.root / 'val_0.mp4']
    (found,), (wanted,) = predict(raw, video, topk=8), predict(load_recognizer(run=demo_run.work_dir), video, topk=8)
    assert [one['index'] for one in found['predictions']] == [one['index'] for one in wanted['predictions']]
    for one, other in zip(found['predictions'], wanted['predictions'], strict=True):
        assert one['probability'] == pytest.approx(other['score'], abs=1e-5) and other['probability'] == other['score']
    assert sum(one['score'] for one in found['predictions']) != pytest.approx(1, abs=1e-2)


def test_a_bad_video_gets_an_error_and_the_rest_goes_on(
    demo_run: Any, clips: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes((clips.root / 'val_0.mp4').read_bytes()[:300])
    words = ['predict', str(bad), str(clips.root / 'val_1.mp4'), '--run', str(demo_run.work_dir), '--json', '-']
    assert main([*words, '--batch', '2']) == 1
    results = json.loads(capsys.readouterr().out)
    assert [bool(result['error']) for result in results] == [True, False]
    assert results[0]['predictions'] == [] and len(results[1]['predictions']) == 5


def test_the_command_prints_names(demo_run: Any, clips: Any, capsys: pytest.CaptureFixture) -> None:
    words = [
        '--config',
        str(demo_run.config),
        '--checkpoint',
        str(demo_run.checkpoint),
        '--topk',
        '1',
        '--views',
        'one',
    ]
    assert main(['predict', str(clips.root / 'val_0.mp4'), *words]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith('val_0.mp4') and out[1].split()[1] in CLASSES and len(out) == 2


def test_results_go_to_stdout_beside_a_progress_bar(
    demo_run: Any, clips: Any, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('FORCE_COLOR', '1')  # rich then takes stderr for a terminal
    assert main(['predict', str(clips.root / 'val_0.mp4'), '--run', str(demo_run.work_dir), '--topk', '1']) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and 'videos' in err and 'val_0' not in err


def test_a_video_of_one_frame(recognizer: Any, tmp_path: Path) -> None:
    from vidtx_mm.demo.shapes import write_mp4

    write_mp4(np.zeros((1, 32, 32, 3), np.uint8), tmp_path / 'one.mp4', 8)
    (result,) = predict(recognizer, [tmp_path / 'one.mp4'])
    assert result['error'] is None and len(result['predictions']) == 5


def test_a_classifier_left_at_init_is_refused(demo_run: Any, tmp_path: Path) -> None:
    state = torch.load(demo_run.checkpoint, weights_only=True)['state_dict']
    torch.save({key: value[:5] if 'fc_cls' in key else value for key, value in state.items()}, tmp_path / 'five.pth')
    with pytest.raises(CheckpointError, match='no classifier for the 8 classes of swin3d_shapes.py'):
        load_recognizer('swin3d_shapes', tmp_path / 'five.pth')


def test_class_names_of_a_config(demo_run: Any, tmp_path: Path) -> None:
    """Where the checkpoint has none; without either, the index is the name."""
    torch.save(torch.load(demo_run.checkpoint, weights_only=True)['state_dict'], tmp_path / 'plain.pth')
    assert load_recognizer(demo_run.config, tmp_path / 'plain.pth', cfg_options=dict(classes=None)).classes[3] == '3'
    named = load_recognizer(demo_run.config, tmp_path / 'plain.pth', cfg_options=dict(classes=list('abcdefgh')))
    assert named.classes[3] == 'd'
    moved = dict(classes='gone/classes.txt')  # a run on another machine: its checkpoint has the names
    assert load_recognizer(demo_run.config, demo_run.checkpoint, cfg_options=moved).classes == CLASSES


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({}, 'give a config or the work dir of a run'),
        (dict(config='swin3d_shapes', run='x'), 'not both'),
        (dict(config='swin3d_shape'), 'did you mean swin3d_shapes'),
        (dict(config='swin3d_shapes'), 'no published weights with an address: give --checkpoint'),
        (dict(config='swin3d_shapes', device='cuda'), 'sees no GPU: use --device cpu'),
        (dict(config='swin3d_shapes', device='gpu'), "device 'gpu' is unknown"),
        (dict(run='nowhere'), 'nowhere holds no config'),
    ],
)
def test_bad_models(arguments: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_recognizer(**arguments)


def test_a_checkpoint_of_another_family(tmp_path: Path) -> None:
    torch.save(vidtx_mm.create_model('uniformer_shapes').state_dict(), tmp_path / 'uniformer.pth')
    with pytest.raises(CheckpointError, match='VideoSwin'):
        load_recognizer('swin3d_shapes', tmp_path / 'uniformer.pth')


def test_a_config_without_test_pipeline(demo_run: Any) -> None:
    with pytest.raises(ValueError, match='has no test_dataloader.dataset.pipeline'):
        load_recognizer(demo_run.config, demo_run.checkpoint, cfg_options=dict(test_dataloader=None))


def test_json_that_cannot_be_written(demo_run: Any, clips: Any, capsys: pytest.CaptureFixture) -> None:
    """Said before anything is computed."""
    out = clips.val / 'out.json'  # below a file
    assert main(['predict', str(clips.root), '--run', str(demo_run.work_dir), '--json', str(out)]) == 2
    shown, error = capsys.readouterr()
    assert not shown and str(clips.val) in error


def test_inputs(clips: Any, tmp_path: Path) -> None:
    assert len(find_videos([clips.root])) == 9
    listed = tmp_path / 'list.txt'
    (tmp_path / 'my clip.mp4').touch()
    listed.write_text('my clip.mp4\nmy clip.mp4 3\n' + str(clips.root / 'val_0.mp4') + '\n')
    assert find_videos([listed]) == [str(tmp_path / 'my clip.mp4')] * 2 + [str(clips.root / 'val_0.mp4')]
    with pytest.raises(FileNotFoundError, match='gone.mp4: no such video'):
        find_videos(['gone.mp4'])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(ValueError, match='holds no videos'):
        find_videos([tmp_path / 'empty'])


def test_a_run_gives_its_best_checkpoint(tmp_path: Path) -> None:
    (tmp_path / 'a.py').touch()
    with pytest.raises(FileNotFoundError, match='holds no checkpoint'):
        find_run(tmp_path)
    for name in ('epoch_9.pth', 'epoch_10.pth'):
        (tmp_path / name).touch()
    assert find_run(tmp_path) == (tmp_path / 'a.py', tmp_path / 'epoch_10.pth')
    (tmp_path / 'best_acc_top1_epoch_9.pth').touch()
    assert find_run(tmp_path)[1].name == 'best_acc_top1_epoch_9.pth'


def test_auto_device() -> None:
    assert find_device('auto').type == ('cuda' if torch.cuda.is_available() else 'cpu')


def test_the_hosts_inferencer_agrees(demo_run: Any, recognizer: Any, clips: Any) -> None:
    """It takes configs and checkpoints of runs and returns indices, as docs/from_mmaction2.md says."""
    from mmaction.apis.inferencers import MMAction2Inferencer

    inferencer = MMAction2Inferencer(rec=str(demo_run.config), rec_weights=str(demo_run.checkpoint), device='cpu')
    found = inferencer(str(clips.root / 'val_0.mp4'))['predictions'][0]
    (ours,) = predict(recognizer, [clips.root / 'val_0.mp4'])
    assert found['rec_labels'][0][0] == ours['predictions'][0]['index']
    assert max(found['rec_scores'][0]) == pytest.approx(ours['predictions'][0]['score'], abs=1e-4)
