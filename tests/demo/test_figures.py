"""The generated COCO data set is reproducible and complete, and its annotations match the images."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from vidtx_mm.demo.figures import (
    CLASSES,
    FIVE_KEYPOINTS,
    INDEX,
    KEYPOINTS,
    SPLITS,
    FiguresSpec,
    make_figures,
    make_scene,
)

SPEC = FiguresSpec(train=12, val=3, size=96)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('figures')
    assert make_figures(folder, SPEC)
    return folder


def read(root: Path, kind: str, split: str) -> dict[str, Any]:
    return json.loads((root / 'annotations' / f'{kind}_{split}.json').read_text())


def drawn(root: Path) -> Iterator[tuple[np.ndarray, Any, dict[str, Any]]]:
    """Yield (image, object, annotation) of all training images."""
    content = read(root, 'instances', 'train')
    for index, image in enumerate(content['images']):
        scene = make_scene(SPEC.size, np.random.default_rng([SPEC.seed, 0, index]))
        notes = [note for note in content['annotations'] if note['image_id'] == image['id']]
        assert len(notes) == len(scene.objects)
        for thing, note in zip(scene.objects, notes, strict=True):
            yield scene.image, thing, note


def test_files_say_the_same_of_every_image(root: Path) -> None:
    for split in SPLITS:
        instances, people = read(root, 'instances', split), read(root, 'keypoints', split)
        assert len(instances['images']) == getattr(SPEC, split)
        assert instances['images'] == people['images']
        assert [category['name'] for category in instances['categories']] == list(CLASSES)
        assert people['categories'][0]['keypoints'] == KEYPOINTS
        assert [note for note in instances['annotations'] if note['category_id'] == 1] == people['annotations']
        five = read(root, 'five_keypoints', split)
        assert five['categories'][0]['keypoints'] == list(FIVE_KEYPOINTS)
        for note, whole in zip(five['annotations'], people['annotations'], strict=True):
            points = np.reshape(whole['keypoints'], (17, 3))[[KEYPOINTS.index(name) for name in FIVE_KEYPOINTS]]
            assert np.array_equal(np.reshape(note['keypoints'], (5, 3)), points) and note['bbox'] == whole['bbox']
        for image in instances['images']:
            found = cv2.imread(str(root / split / image['file_name']))
            assert found.shape == (image['height'], image['width'], 3)
            names = {note['category_id'] for note in instances['annotations'] if note['image_id'] == image['id']}
            assert names == {1, 2}
        numbers = [note['id'] for note in instances['annotations']]
        assert numbers == list(range(1, len(numbers) + 1))


def test_boxes_and_polygons_are_those_of_the_masks(root: Path) -> None:
    for _, thing, note in drawn(root):
        assert CLASSES[note['category_id'] - 1] == thing.name
        rows, columns = np.nonzero(thing.mask)
        x, y, width, height = note['bbox']
        assert (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1) == (x, y, width, height)
        assert note['area'] == thing.mask.sum() > 0
        filled = np.zeros(thing.mask.shape, np.uint8)
        cv2.fillPoly(filled, [np.reshape(polygon, (-1, 2)) for polygon in note['segmentation']], 1)
        assert (thing.mask & (filled > 0)).sum() / (thing.mask | (filled > 0)).sum() > 0.85  # outlines have no holes


def test_seen_keypoints_lie_on_their_figure_and_covered_ones_do_not(root: Path) -> None:
    seen = covered = 0
    for _, thing, note in drawn(root):
        if thing.name == 'ball':
            assert 'keypoints' not in note
            continue
        points = np.reshape(note['keypoints'], (len(KEYPOINTS), 3))
        assert note['num_keypoints'] == len(KEYPOINTS)
        np.testing.assert_allclose(points, thing.keypoints, atol=0.01)
        for x, y, visible in points:
            on_figure = thing.mask[round(y), round(x)]
            assert on_figure == (visible == 2) or visible == 2 and _near(thing.mask, x, y)
            seen, covered = seen + (visible == 2), covered + (visible == 1)
    assert seen > 5 * covered > 0


def _near(mask: np.ndarray, x: float, y: float) -> bool:
    rows, columns = np.nonzero(mask)
    return bool(np.hypot(columns - x, rows - y).min() < 3)  # an ear or a joint at the edge of the outline


def test_left_and_right_differ_in_brightness(root: Path) -> None:
    """The left elbow is brighter than the right one if both are visible."""
    pairs = []
    for image, thing, _ in drawn(root):
        if thing.name == 'person':
            points = [thing.keypoints[INDEX[f'{side}_elbow']] for side in ('left', 'right')]
            if all(point[2] == 2 for point in points):
                pairs.append([image[round(y), round(x)].max() for x, y, _ in points])
    assert len(pairs) > 8
    assert all(left > right for left, right in pairs)


def test_made_once_and_the_same_again(root: Path, tmp_path: Path) -> None:
    assert not make_figures(root, SPEC)
    make_figures(tmp_path, SPEC)
    files = sorted(path.relative_to(root) for path in root.rglob('*') if path.is_file())
    objects = sum(len(read(root, 'instances', split)['annotations']) for split in SPLITS)
    assert len(files) == 3 * (SPEC.train + SPEC.val) + objects + 7
    assert all((root / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)
    assert make_figures(tmp_path, FiguresSpec(train=1, val=1, size=96, seed=1))


def test_label_maps_hold_the_masks(root: Path) -> None:
    """1 where no object is seen, 2 for people, 3 for balls; the images are those of the other formats."""
    for index in range(SPEC.train):
        scene = make_scene(SPEC.size, np.random.default_rng([SPEC.seed, 0, index]))
        labels = cv2.imread(str(root / f'ade/annotations/training/{index:05d}.png'), cv2.IMREAD_UNCHANGED)
        for name, label in (('person', 2), ('ball', 3)):
            seen = np.zeros(labels.shape, bool)
            for thing in scene.objects:
                seen |= thing.mask.astype(bool) & (thing.name == name)
            assert np.array_equal(labels == label, seen)
        image = cv2.imread(str(root / f'ade/images/training/{index:05d}.jpg')).astype(int)
        assert abs(image - scene.image).mean() < 12


def test_folders_hold_a_square_of_each_object(root: Path) -> None:
    for split in SPLITS:
        notes = json.loads((root / 'annotations' / f'instances_{split}.json').read_text())['annotations']
        for number, name in enumerate(CLASSES, 1):
            images = [cv2.imread(str(path)) for path in (root / 'folders' / split / name).glob('*.png')]
            assert len(images) == sum(note['category_id'] == number for note in notes)
            assert all(image.shape[0] == image.shape[1] >= 32 for image in images)


@pytest.mark.parametrize('wrong, message', [(dict(size=32), '64 pixels or more'), (dict(val=0), 'at least one image')])
def test_unusable_specs_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FiguresSpec(**wrong)
