"""The moving shapes are reproducible, balanced and readable, and single frames carry no class information."""

from pathlib import Path

import decord
import numpy as np
import pytest

from vidtx_mm.demo.shapes import CLASSES, SPLITS, ShapesSpec, is_made, make_clip, make_shapes, trajectory, write_mp4

SPEC = ShapesSpec(train=24, val=8, test=16)
CHANCE = 1 / len(CLASSES)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('shapes')
    assert make_shapes(folder, SPEC)
    return folder


def decode(path: Path) -> np.ndarray:
    reader = decord.VideoReader(str(path), num_threads=1)
    return reader.get_batch(range(len(reader))).asnumpy()


def rows(root: Path, split: str) -> list[tuple[str, int]]:
    pairs = [line.split() for line in (root / f'{split}.txt').read_text().splitlines()]
    return [(path, int(label)) for path, label in pairs]


# -- the files -----------------------------------------------------------------------------------------------------


def test_lists_and_classes(root: Path) -> None:
    assert (root / 'classes.txt').read_text().split() == list(CLASSES)
    paths = [path for split in SPLITS for path, _ in rows(root, split)]
    assert len(set(paths)) == SPEC.train + SPEC.val + SPEC.test
    for split in SPLITS:
        counts = np.bincount([label for _, label in rows(root, split)], minlength=len(CLASSES))
        assert set(counts) == {getattr(SPEC, split) // len(CLASSES)}
        assert all(CLASSES[label] in path for path, label in rows(root, split))


def test_decord_reads_what_was_drawn(root: Path) -> None:
    for index, (path, label) in enumerate(rows(root, 'train')):
        drawn = make_clip(label, SPEC, np.random.default_rng([SPEC.seed, 0, index])).astype(float)
        read = decode(root / path).astype(float)
        assert read.shape == (SPEC.frames, SPEC.size, SPEC.size, 3)
        assert abs(read - drawn).mean() < 8  # of 255, codec and chroma at half resolution
        assert abs(read - drawn).max(3).mean((1, 2)).max() < 16  # and in no frame much more
        contrast = np.corrcoef(read.mean(3).ravel(), drawn.mean(3).ravel())[0, 1]
        assert contrast > 0.98


def test_same_spec_same_bytes_and_another_seed_others(root: Path, tmp_path: Path) -> None:
    make_shapes(tmp_path / 'same', SPEC)
    make_shapes(tmp_path / 'other', ShapesSpec(**{**vars(SPEC), 'seed': 1}))
    files = sorted(path.relative_to(root) for path in root.rglob('*') if path.is_file())
    assert len(files) > SPEC.train
    assert all((root / file).read_bytes() == (tmp_path / 'same' / file).read_bytes() for file in files)
    clips = [file for file in files if file.suffix == '.mp4']
    assert all((root / file).read_bytes() != (tmp_path / 'other' / file).read_bytes() for file in clips)


def test_no_clip_is_in_two_splits(root: Path) -> None:
    contents = [path.read_bytes() for path in root.rglob('*.mp4')]
    assert len(set(contents)) == len(contents)


def test_made_once_and_again_when_something_is_amiss(root: Path) -> None:
    assert not make_shapes(root, SPEC)
    assert not is_made(root, ShapesSpec(**{**vars(SPEC), 'size': 48}))
    victim = root / rows(root, 'val')[3][0]
    content = victim.read_bytes()
    victim.unlink()
    assert make_shapes(root, SPEC)
    assert victim.read_bytes() == content


@pytest.mark.parametrize('wrong', [dict(size=33), dict(size=8), dict(test=0), dict(frames=0), dict(seed=-1)])
def test_specs_that_cannot_be_made(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ShapesSpec(**wrong)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match='cannot write mp4v'):
        write_mp4(np.zeros((2, 32, 32, 3), np.uint8), tmp_path / 'nowhere' / 'a.mp4', 8)


# -- what the classes are ------------------------------------------------------------------------------------------


def steps(label: int, seed: int) -> np.ndarray:
    """Return the shortest displacements between successive frames on the torus, (frames - 1, 3) of x, y, size."""
    path = trajectory(label, SPEC.frames, np.random.default_rng(seed))
    return (np.diff(path, axis=0) + 0.5) % 1 - 0.5


@pytest.mark.parametrize(
    ('name', 'axis', 'sign'),
    [('left', 0, -1), ('right', 0, 1), ('up', 1, -1), ('down', 1, 1), ('growing', 2, 1), ('shrinking', 2, -1)],
)
def test_straight_motions_go_where_they_say(name: str, axis: int, sign: int) -> None:
    for seed in range(50):
        moves = steps(CLASSES.index(name), seed)
        assert (sign * moves[:, axis] > 0.05).all()
        assert (abs(np.delete(moves, axis, axis=1)) < 0.03).all()


@pytest.mark.parametrize(('name', 'sign'), [('clockwise', 1), ('counterclockwise', -1)])
def test_circles_turn_the_way_they_say(name: str, sign: int) -> None:
    for seed in range(50):
        moves = steps(CLASSES.index(name), seed)
        turns = moves[:-1, 0] * moves[1:, 1] - moves[:-1, 1] * moves[1:, 0]
        assert (sign * turns > 0).all()  # y points down, so a positive turn is clockwise on the screen


# -- a single frame tells nothing ----------------------------------------------------------------------------------


def test_every_frame_of_every_class_is_uniform() -> None:
    """Counts in 4 x 4 x 4 bins of (x, y, size), per class and frame index, have a chi-square within five sigma."""
    clips, boxes = 1024, 4
    rng = np.random.default_rng(0)
    for label in range(len(CLASSES)):
        paths = np.stack([trajectory(label, SPEC.frames, rng) for _ in range(clips)])
        for frame in range(SPEC.frames):
            counts = np.histogramdd(paths[:, frame], bins=boxes, range=[(0, 1)] * 3)[0]
            expected = clips / boxes**3
            chi2 = ((counts - expected) ** 2 / expected).sum()
            freedom = boxes**3 - 1
            assert abs(chi2 - freedom) < 5 * np.sqrt(2 * freedom), (CLASSES[label], frame)


def moments(frames: np.ndarray) -> np.ndarray:
    """Measure position and area of the shape in (N, T, S, S, 3) clips: (N, T, 3), complex x, complex y, area."""
    light = frames.astype(float).mean(4)
    mask = light - np.percentile(light, 20, axis=(2, 3), keepdims=True)
    mask /= mask.max((2, 3), keepdims=True)
    wave = np.exp(2j * np.pi * np.arange(mask.shape[-1]) / mask.shape[-1])
    area = mask.mean((2, 3))
    return np.stack([(mask.mean(2) * wave).mean(2), (mask.mean(3) * wave).mean(2), area + 0j], axis=2)


def accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the two-fold cross-validated accuracy of a ridge classifier."""
    x = features.reshape(len(features), -1).astype(float)
    x = (x - x.mean(0)) / (x.std(0) + 1e-9)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    targets = np.eye(len(CLASSES))[labels]
    halves = np.array_split(np.arange(len(x)), 2)
    right = 0
    for train, test in (halves, halves[::-1]):
        gram = x[train].T @ x[train] + 10 * np.eye(x.shape[1])
        scores = x[test] @ np.linalg.solve(gram, x[train].T @ targets[train])
        right += (scores.argmax(1) == labels[test]).sum()
    return right / len(x)


def real(z: np.ndarray) -> np.ndarray:
    return np.concatenate([z.real, z.imag], axis=-1)


@pytest.fixture(scope='module')
def decoded(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, np.ndarray]:
    """640 decoded clips and their labels."""
    folder = tmp_path_factory.mktemp('decoded')
    make_shapes(folder, ShapesSpec(train=640, val=1, test=1))
    pairs = rows(folder, 'train')
    return np.stack([decode(folder / path) for path, _ in pairs]), np.array([label for _, label in pairs])


@pytest.mark.parametrize('frame', [0, 1, 4, 7])
def test_classifiers_of_one_frame_are_at_chance(decoded: tuple[np.ndarray, np.ndarray], frame: int) -> None:
    """Classify single decoded frames, in which the codec might leave traces of earlier frames."""
    frames, labels = decoded
    light = frames[:, frame].astype(float).mean(3)
    pooled = light.reshape(-1, 8, 4, 8, 4).mean((2, 4))
    one = moments(frames)[:, frame]
    texture = np.abs(np.fft.rfft2(light))[:, :6, :6]
    limit = CHANCE + 4 * np.sqrt(CHANCE * (1 - CHANCE) / len(labels))
    views = dict(
        pixels=pooled,
        spectrum=texture,
        products=real(np.einsum('ni,nj->nij', one, np.concatenate([one, one.conj()], 1)).reshape(len(one), -1)),
    )
    for name, features in views.items():
        assert accuracy(features, labels) < limit, name


def test_the_same_classifier_reads_motion(decoded: tuple[np.ndarray, np.ndarray]) -> None:
    """Control of the previous test: with changes between frames, the classifier is mostly correct."""
    frames, labels = decoded
    z = moments(frames)
    moves = z[:, 1:] * z[:, :-1].conj()
    size = np.diff(z[..., 2].real)
    turns = moves[:, 1:, :1] * moves[:, :-1, 1:2].conj() - moves[:, :-1, :1] * moves[:, 1:, 1:2].conj()
    features = [real(moves[..., :2]), real(turns), size]
    assert accuracy(np.concatenate([f.reshape(len(f), -1) for f in features], axis=1), labels) > 0.7
