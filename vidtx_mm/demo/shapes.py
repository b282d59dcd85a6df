"""Generated clips of moving shapes, whose class depends on the motion alone.

A bright shape on a dark plain background moves left, right, up or down, circles in one of two directions, grows or
shrinks.

A single frame carries no information about the class. Positions wrap around at the borders, and sizes wrap around from
the largest to the smallest. Position and size are thus a point on a three-dimensional torus. Its start is uniform and
independent of the class, and a class only adds a displacement. The sum is again uniform, so that each frame of each
class has the same distribution. Without the wrapping, a shape that moves right would on average end further right.
"""

import colorsys
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator

CLASSES = ('left', 'right', 'up', 'down', 'clockwise', 'counterclockwise', 'growing', 'shrinking')
SPLITS = ('train', 'val', 'test')

# Displacements per frame, in units of the torus: 1 is the width of the frame, or the whole range of sizes.
SPEED = (0.06, 0.12)
HEADING_JITTER = 0.2  # radians
ORBIT_RADIUS = (0.14, 0.22)
ORBIT_SPEED = (0.6, 0.95)  # radians per frame
SIZE_SPEED = (0.07, 0.12)
SIZE = (0.10, 0.24)  # half height of the smallest and the largest shape


@dataclass(frozen=True)
class ShapesSpec:
    """Specification of a data set; equal specs give equal files.

    ``train``, ``val`` and ``test`` are numbers of clips, ``frames`` is the length of a clip, and ``size`` the side of
    its square frames in pixels (even, for the codec).
    """

    train: int = 1024
    val: int = 128
    test: int = 256
    frames: int = 8
    size: int = 32
    fps: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 2:
            raise ValueError(f'size={self.size}: use an even number of pixels, 16 or more')
        too_small = {name: value for name, value in asdict(self).items() if value < (name != 'seed')}
        if too_small:
            raise ValueError(f'{too_small}: counts must be at least 1, and the seed at least 0')


# -- motion: displacement on the torus (x, y, size), one row per frame, x to the right and y downwards ----------------


def _translate(direction: float) -> Callable[[Generator, int], np.ndarray]:
    def displacement(rng: Generator, frames: int) -> np.ndarray:
        heading = direction + rng.uniform(-HEADING_JITTER, HEADING_JITTER)
        way = rng.uniform(*SPEED) * np.arange(frames)
        return np.stack([way * np.cos(heading), way * np.sin(heading), np.zeros(frames)], axis=1)

    return displacement


def _orbit(sense: int) -> Callable[[Generator, int], np.ndarray]:
    def displacement(rng: Generator, frames: int) -> np.ndarray:
        angle = rng.uniform(0, 2 * np.pi) + sense * rng.uniform(*ORBIT_SPEED) * np.arange(frames)
        radius = rng.uniform(*ORBIT_RADIUS)
        return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros(frames)], axis=1)

    return displacement


def _scale(sense: int) -> Callable[[Generator, int], np.ndarray]:
    def displacement(rng: Generator, frames: int) -> np.ndarray:
        still = np.zeros(frames)
        return np.stack([still, still, sense * rng.uniform(*SIZE_SPEED) * np.arange(frames)], axis=1)

    return displacement


MOTIONS: dict[str, Callable[[Generator, int], np.ndarray]] = {
    'left': _translate(np.pi),
    'right': _translate(0.0),
    'up': _translate(-np.pi / 2),
    'down': _translate(np.pi / 2),
    'clockwise': _orbit(1),
    'counterclockwise': _orbit(-1),
    'growing': _scale(1),
    'shrinking': _scale(-1),
}


def trajectory(label: int, frames: int, rng: Generator) -> np.ndarray:
    """Draw the path of a clip, (frames, 3) of x, y and size in [0, 1), uniform in each frame of each class."""
    start = rng.uniform(size=3)
    return (start + MOTIONS[CLASSES[label]](rng, frames)) % 1.0


# -- appearance: signed distance to an outline of half-height r, negative inside ---------------------------------------


def _disc(dx: np.ndarray, dy: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.hypot(dx, dy) - r


def _square(dx: np.ndarray, dy: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(abs(dx), abs(dy)) - 0.9 * r


def _diamond(dx: np.ndarray, dy: np.ndarray, r: np.ndarray) -> np.ndarray:
    return (abs(dx) + abs(dy) - 1.2 * r) / np.sqrt(2)


def _triangle(dx: np.ndarray, dy: np.ndarray, r: np.ndarray) -> np.ndarray:
    return np.maximum(dy - 0.8 * r, (2 * abs(dx) - dy - 1.2 * r) / np.sqrt(5))


OUTLINES = (_disc, _square, _diamond, _triangle)


def _color(hue: float, saturation: float, value: float) -> np.ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue, saturation, value))


def render(path: np.ndarray, size: int, rng: Generator) -> np.ndarray:
    """Render a path (T, 3) with a random outline and random colors: (T, size, size, 3) uint8 RGB."""
    outline = OUTLINES[rng.integers(len(OUTLINES))]
    shape_color = _color(rng.uniform(), rng.uniform(0, 0.6), rng.uniform(0.85, 1))
    ground_color = _color(rng.uniform(), rng.uniform(0, 0.6), rng.uniform(0.02, 0.2))
    x, y, scale = (path[:, i, None, None] for i in range(3))
    centers = (np.arange(size) + 0.5) / size
    dx = (centers[None, None, :] - x + 0.5) % 1.0 - 0.5
    dy = (centers[None, :, None] - y + 0.5) % 1.0 - 0.5
    r = SIZE[0] * (SIZE[1] / SIZE[0]) ** scale
    cover = np.clip(0.5 - size * outline(dx, dy, r), 0, 1)[..., None]
    return np.rint(ground_color + cover * (shape_color - ground_color)).astype(np.uint8)


def make_clip(label: int, spec: ShapesSpec, rng: Generator) -> np.ndarray:
    """Generate a clip of a class, (frames, size, size, 3) uint8 RGB."""
    return render(trajectory(label, spec.frames, rng), spec.size, rng)


# -- files: <root>/{train,val,test}/*.mp4, {train,val,test}.txt with lines 'path label', classes.txt, shapes.json ------


def write_mp4(frames: np.ndarray, path: Path, fps: int) -> None:
    """Write (T, H, W, 3) uint8 RGB frames as MPEG-4 video."""
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*'mp4v'), fps, (width, height))
    if not writer.isOpened():
        raise OSError(
            f'{path}: OpenCV cannot write mp4v video; check that the folder is writable, and that OpenCV '
            'has FFmpeg (pip install opencv-python)'
        )
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()


def manifest(spec: ShapesSpec) -> str:
    """Return the text of ``shapes.json``: the spec and a digest of this file, to regenerate after changes of it."""
    generator = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    return json.dumps({'spec': asdict(spec), 'generator': generator}, indent=2) + '\n'


def clip_names(spec: ShapesSpec, split: str) -> list[str]:
    """Return paths below the root, in the order of the list, with alternating classes."""
    return [f'{split}/{index:05d}_{CLASSES[index % len(CLASSES)]}.mp4' for index in range(getattr(spec, split))]


def is_made(root: Path, spec: ShapesSpec) -> bool:
    """Return whether ``root`` holds this data set completely (``shapes.json`` is written last)."""
    note = root / 'shapes.json'
    names = [f'{split}.txt' for split in SPLITS] + [name for split in SPLITS for name in clip_names(spec, split)]
    return note.is_file() and note.read_text() == manifest(spec) and all((root / name).is_file() for name in names)


def make_shapes(root: Path, spec: ShapesSpec, report: Callable[[str], None] = lambda line: None) -> bool:
    """Write the data set into ``root``; return False if it is there already.

    Each clip has its own random stream, so that clip n of a split does not depend on the number of clips.
    """
    if is_made(root, spec):
        return False
    (root / 'shapes.json').unlink(missing_ok=True)
    for number, split in enumerate(SPLITS):
        names = clip_names(spec, split)
        (root / split).mkdir(parents=True, exist_ok=True)
        for index, name in enumerate(names):
            rng = np.random.default_rng([spec.seed, number, index])
            write_mp4(make_clip(index % len(CLASSES), spec, rng), root / name, spec.fps)
        lines = [f'{name} {index % len(CLASSES)}\n' for index, name in enumerate(names)]
        (root / f'{split}.txt').write_text(''.join(lines))
        report(f'{split}: {len(names)} clips of {spec.frames} frames, {spec.size} x {spec.size}')
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    (root / 'shapes.json').write_text(manifest(spec))
    return True


def make_class_folders(root: Path, spec: ShapesSpec) -> None:
    """Write the training clips into a folder for each class, as ``vidtx finetune`` takes them: <root>/<class>/*.mp4."""
    for index in range(spec.train):
        label = index % len(CLASSES)
        folder = root / CLASSES[label]
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng([spec.seed, SPLITS.index('train'), index])
        write_mp4(make_clip(label, spec, rng), folder / f'{index:05d}.mp4', spec.fps)
