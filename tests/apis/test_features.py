"""Features of videos: shapes, the pooled vector, resuming, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from vidtx_mm.apis.features import extract_features, open_store
from vidtx_mm.apis.recognizer import load_recognizer
from vidtx_mm.cli import main


@pytest.fixture(scope='module')
def recognizer(demo_run: Any) -> Any:
    return load_recognizer(run=demo_run.work_dir)


def videos(clips: Any) -> list[str]:
    return [str(clips.root / line.split()[0]) for line in clips.val.read_text().splitlines()][:3]


def test_the_vector_is_what_the_classifier_sees(recognizer: Any, clips: Any) -> None:
    """The classifier on the vector gives the scores of the network on the same view."""
    ((_, vector),) = extract_features(recognizer, videos(clips)[:1])
    ((_, maps),) = extract_features(recognizer, videos(clips)[:1], pool='map')
    assert vector.ndim == 1 and maps.ndim == 5 and maps.shape[:2] == (1, len(vector))
    np.testing.assert_allclose(vector, maps.mean((0, 2, 3, 4)), atol=1e-6)
    head = recognizer.model.cls_head
    with torch.no_grad():
        torch.testing.assert_close(head.fc_cls(torch.from_numpy(vector))[None], head(torch.from_numpy(maps)))


def test_views_are_averaged(recognizer: Any, clips: Any) -> None:
    ((_, vector),) = extract_features(recognizer, videos(clips)[:1], views='test')
    ((_, maps),) = extract_features(recognizer, videos(clips)[:1], pool='map', views='test')
    np.testing.assert_allclose(vector, maps.mean((0, 2, 3, 4)), atol=1e-6)


@pytest.mark.parametrize('out', ['folder', 'file.safetensors'])
def test_a_second_call_adds_what_is_missing(
    out: str, demo_run: Any, clips: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ['--run', str(demo_run.work_dir), '--out', str(tmp_path / out)]
    first, *others = videos(clips)
    assert main(['features', first, *words]) == 0
    before = stored(tmp_path / out)
    assert main(['features', first, *others, *words]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith('2 videos added, 1 were there, 0 failed')
    after = stored(tmp_path / out)
    assert list(after) == sorted([first, *others]) and len(before) == 1
    assert np.array_equal(after[first], before[first])
    assert len({vector.tobytes() for vector in after.values()}) == 3
    assert main(['features', first, *words, '--pool', 'map']) == 2
    assert "holds features of other settings (pool='avg' there, 'map' now)" in capsys.readouterr().err


def stored(out: Path) -> dict[str, np.ndarray]:
    if out.is_file():
        found = load_file(out)
    else:
        _, *entries = map(json.loads, (out / 'index.jsonl').read_text().splitlines())
        found = {entry['video']: np.load(out / entry['file']) for entry in entries}
        assert all(list(found[entry['video']].shape) == entry['shape'] for entry in entries)
    return dict(sorted(found.items()))


def test_a_bad_video_is_named_and_the_rest_is_kept(
    demo_run: Any, clips: Any, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video')
    words = ['--run', str(demo_run.work_dir), '--out', str(tmp_path / 'out')]
    assert main(['features', str(bad), videos(clips)[0], *words]) == 1
    assert str(bad) in capsys.readouterr().err
    assert list(stored(tmp_path / 'out')) == [videos(clips)[0]]


def test_other_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'a.npz: give a folder, or a file that ends in .safetensors'):
        open_store(tmp_path / 'a.npz', {})
