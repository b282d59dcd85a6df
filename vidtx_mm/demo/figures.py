"""Generated data set of stick figures and balls: boxes, masks and 17 or 5 keypoints for COCO, label maps for ADE20K,
and a folder of images for each class.

An image shows one or two figures in random poses, from the front, and one or two balls on a mottled background. Later
objects cover earlier ones: masks hold the visible part, and covered keypoints have visibility 1. The limbs of a figure
are bright on its left and dark on its right, so that a model can distinguish them.
"""

import colorsys
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

CLASSES = ('person', 'ball')
SPLITS = ('train', 'val')
ADE_SPLITS = {'train': 'training', 'val': 'validation'}
KEYPOINTS = (
    'nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist '
    'right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle'
).split()
FIVE_KEYPOINTS = ('nose', 'left_wrist', 'right_wrist', 'left_ankle', 'right_ankle')
INDEX = {name: index for index, name in enumerate(KEYPOINTS)}
LIMBS = [
    (f'{side}_{start}', f'{side}_{end}')
    for side in ('left', 'right')
    for start, end in (('shoulder', 'elbow'), ('elbow', 'wrist'), ('hip', 'knee'), ('knee', 'ankle'))
]
BONES = [('left_shoulder', 'right_shoulder'), ('left_hip', 'right_hip'), *LIMBS]
SIDES = {'left': 1, 'right': -1}  # the figure faces the camera: its left is on the right of the image

# Lengths in units of the figure's height.
HEAD, HALF_SHOULDERS, HALF_HIPS, NECK, TORSO = 0.085, 0.12, 0.07, 0.06, 0.28
ARM, LEG, THICKNESS = (0.17, 0.16), (0.23, 0.22), 0.055
FIGURE_HEIGHT, BALL_RADIUS = (0.45, 0.8), (0.06, 0.12)  # in units of the image side
LEAST_SIDE = 32  # pixels, of an image of one object
VISIBLE = 0.6  # least visible share of an object


@dataclass(frozen=True)
class FiguresSpec:
    """Numbers of images, their side in pixels, and the seed."""

    train: int = 40
    val: int = 12
    size: int = 160
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size < 64:
            raise ValueError(f'size={self.size}: use 64 pixels or more')
        if self.train < 1 or self.val < 1 or self.seed < 0:
            raise ValueError(f'{asdict(self)}: each split needs at least one image, and the seed must not be negative')


@dataclass
class Object:
    """Drawn object: class name, mask (size, size), and COCO keypoints (17, 3) of a person."""

    name: str
    mask: np.ndarray
    keypoints: np.ndarray | None = None


@dataclass
class Scene:
    """Image, (size, size, 3) uint8 BGR, and its objects from back to front."""

    image: np.ndarray
    objects: list[Object] = field(default_factory=list)


def pose(rng: Generator, size: int) -> np.ndarray:
    """Draw random keypoints (17, 2) of a figure in pixels, all inside the image; angles start straight down."""
    height = size * rng.uniform(*FIGURE_HEIGHT)
    points = {'nose': np.zeros(2)}
    for side, sign in SIDES.items():
        points[f'{side}_eye'] = np.array([0.4 * sign * HEAD, -0.35 * HEAD])
        points[f'{side}_ear'] = np.array([0.95 * sign * HEAD, -0.05 * HEAD])
        points[f'{side}_shoulder'] = np.array([sign * HALF_SHOULDERS, HEAD + NECK])
        points[f'{side}_hip'] = np.array([sign * HALF_HIPS, HEAD + NECK + TORSO])
        for chain, lengths, spread in (
            (('shoulder', 'elbow', 'wrist'), ARM, (0.1, 2.4)),
            (('hip', 'knee', 'ankle'), LEG, (0.0, 0.6)),
        ):
            angle = rng.uniform(*spread)
            for start, end, length in zip(chain, chain[1:], lengths, strict=False):
                step = length * np.array([sign * np.sin(angle), np.cos(angle)])
                points[f'{side}_{end}'] = points[f'{side}_{start}'] + step
                angle += rng.uniform(-0.4, 0.9) if end == 'elbow' else rng.uniform(-0.5, 0.1)
    found = height * np.stack([points[name] for name in KEYPOINTS])
    margin = height * (HEAD + THICKNESS)
    room = size - 2 * margin - np.ptp(found, axis=0)
    if (room < 0).any():
        return pose(rng, size)
    return found - found.min(axis=0) + margin + rng.uniform(size=2) * room


def _color(rng: Generator, saturation: tuple[float, float], value: tuple[float, float]) -> tuple[float, ...]:
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(*saturation), rng.uniform(*value))
    return tuple(255 * part for part in reversed(rgb))


def _ground(rng: Generator, size: int) -> np.ndarray:
    coarse = rng.uniform(-25, 25, (size // 16, size // 16, 1)).repeat(3, axis=2).astype(np.float32)
    mottle = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(_color(rng, (0, 0.5), (0.1, 0.4)) + mottle, 0, 255).astype(np.uint8)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return int(round(point[0])), int(round(point[1]))


def _draw_person(points: np.ndarray, rng: Generator) -> Callable[[np.ndarray, bool], None]:
    """Return a function that draws a figure on an image, or its silhouette with ones."""
    torso, skin = _color(rng, (0.6, 1), (0.6, 0.9)), (150, 190, 235)
    colors = {'left': _color(rng, (0.5, 1), (0.9, 1)), 'right': _color(rng, (0.5, 1), (0.5, 0.6))}
    shoulders, nose = points[[INDEX['left_shoulder'], INDEX['right_shoulder']]], points[INDEX['nose']]
    unit = np.linalg.norm(shoulders[0] - shoulders[1]) / (2 * HALF_SHOULDERS)  # height of the figure
    thickness = max(2, round(unit * THICKNESS))

    def draw(canvas: np.ndarray, silhouette: bool) -> None:
        def ink(color: tuple[float, ...]) -> tuple[float, ...]:
            return (1,) if silhouette else color

        corners = [f'{side}_{part}' for part, sides in (('shoulder', 'lr'), ('hip', 'rl')) for side in _named(sides)]
        cv2.line(canvas, _pixel(nose), _pixel(shoulders.mean(axis=0)), ink(skin), thickness)
        cv2.fillPoly(canvas, [np.array([_pixel(points[INDEX[name]]) for name in corners])], ink(torso))
        for start, end in BONES:
            color = colors.get(start.split('_')[0], torso) if (start, end) in LIMBS else torso
            cv2.line(canvas, _pixel(points[INDEX[start]]), _pixel(points[INDEX[end]]), ink(color), thickness)
        cv2.circle(canvas, _pixel(nose), round(unit * HEAD), ink(skin), -1)
        for eye in ('left_eye', 'right_eye'):
            cv2.circle(canvas, _pixel(points[INDEX[eye]]), max(1, round(unit * 0.014)), ink((40, 30, 30)), -1)

    return draw


def _named(sides: str) -> list[str]:
    return [{'l': 'left', 'r': 'right'}[side] for side in sides]


def _draw_ball(size: int, rng: Generator) -> Callable[[np.ndarray, bool], None]:
    radius = round(size * rng.uniform(*BALL_RADIUS))
    center = tuple(int(c) for c in rng.integers(radius + 1, size - radius - 1, 2))
    color, stripe = _color(rng, (0.7, 1), (0.8, 1)), _color(rng, (0, 0.2), (0.9, 1))

    def draw(canvas: np.ndarray, silhouette: bool) -> None:
        cv2.circle(canvas, center, radius, (1,) if silhouette else color, -1)
        if not silhouette:
            cv2.ellipse(canvas, center, (radius, max(1, radius // 3)), 20, 0, 360, stripe, max(1, radius // 6))

    return draw


def make_scene(size: int, rng: Generator) -> Scene:
    """One picture with at least one figure and one ball, each at least six tenths uncovered."""
    names = rng.permutation(['person'] * rng.integers(1, 3) + ['ball'] * rng.integers(1, 3))
    image, owner = _ground(rng, size), np.full((size, size), -1)
    objects, whole = [], []
    for number, name in enumerate(names):
        points = pose(rng, size) if name == 'person' else None
        draw = _draw_ball(size, rng) if points is None else _draw_person(points, rng)
        mask = np.zeros((size, size), np.uint8)
        draw(image, False)
        draw(mask, True)
        owner[mask > 0] = number
        whole.append(mask.sum())
        objects.append(Object(str(name), mask, points))
    for number, thing in enumerate(objects):
        thing.mask = owner == number
        if thing.mask.sum() < VISIBLE * whole[number]:
            return make_scene(size, rng)
        if thing.keypoints is not None:
            columns, rows = np.rint(thing.keypoints).astype(int).T
            seen = np.where(owner[rows, columns] <= number, 2, 1)
            thing.keypoints = np.column_stack([thing.keypoints, seen])
    return Scene(image, objects)


# -- files: <root>/{train,val}/*.png, annotations/{instances,keypoints,five_keypoints}_{train,val}.json, figures.json;
# for segmentation <root>/ade/{images,annotations}/{training,validation}, for classification
# <root>/folders/{train,val}/{person,ball} -----------------------------------------------------------------------------


def _annotation(thing: Object, number: int, image: int) -> dict[str, Any]:
    mask = thing.mask.astype(np.uint8)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    x, y, width, height = cv2.boundingRect(mask)
    annotation = dict(
        id=number,
        image_id=image,
        category_id=CLASSES.index(thing.name) + 1,
        segmentation=[outline.ravel().tolist() for outline in outlines if len(outline) > 2],
        bbox=[x, y, width, height],
        area=int(mask.sum()),
        iscrowd=0,
    )
    if thing.keypoints is not None:
        annotation['keypoints'] = [round(float(value), 2) for value in thing.keypoints.ravel()]
        annotation['num_keypoints'] = len(thing.keypoints)
    return annotation


def _five_keypoints(annotation: dict[str, Any]) -> dict[str, Any]:
    values = [annotation['keypoints'][3 * INDEX[name] + part] for name in FIVE_KEYPOINTS for part in range(3)]
    return dict(annotation, keypoints=values, num_keypoints=len(FIVE_KEYPOINTS))


def label_map(scene: Scene) -> np.ndarray:
    """Return the (size, size) uint8 labels of a scene as ADE20K counts them: 1 the ground, 2 a person, 3 a ball."""
    labels = np.ones(scene.image.shape[:2], np.uint8)
    for thing in scene.objects:
        labels[thing.mask] = CLASSES.index(thing.name) + 2
    return labels


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), pixels):
        raise OSError(f'{path}: OpenCV cannot write this file; check that the folder is writable')


def _write_label_map(root: Path, split: str, index: int, scene: Scene) -> None:
    _write(root / 'images' / split / f'{index:05d}.jpg', scene.image)
    _write(root / 'annotations' / split / f'{index:05d}.png', label_map(scene))


def _write_objects(root: Path, index: int, scene: Scene) -> None:
    """Write a square around each object into the folder of its class."""
    for number, thing in enumerate(scene.objects):
        x, y, width, height = cv2.boundingRect(thing.mask.astype(np.uint8))
        side = max(width, height, LEAST_SIDE)
        top, left = (min(max(0, start), len(scene.image) - side) for start in (y, x))
        _write(root / thing.name / f'{index:05d}_{number}.png', scene.image[top : top + side, left : left + side])


def _write_split(root: Path, spec: FiguresSpec, split: str) -> None:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(getattr(spec, split)):
        scene = make_scene(spec.size, np.random.default_rng([spec.seed, SPLITS.index(split), index]))
        name = f'{index:05d}.png'
        _write(root / split / name, scene.image)
        _write_objects(root / 'folders' / split, index, scene)
        _write_label_map(root / 'ade', ADE_SPLITS[split], index, scene)
        images.append(dict(id=index + 1, file_name=name, width=spec.size, height=spec.size))
        annotations += [_annotation(thing, len(annotations) + n, index + 1) for n, thing in enumerate(scene.objects, 1)]
    person, ball = (dict(id=number, name=name) for number, name in enumerate(CLASSES, 1))
    skeleton = [[INDEX[start] + 1, INDEX[end] + 1] for start, end in BONES]
    people = [annotation for annotation in annotations if 'keypoints' in annotation]
    for kind, chosen, categories in (
        ('instances', annotations, [person, ball]),
        ('keypoints', people, [dict(person, keypoints=KEYPOINTS, skeleton=skeleton)]),
        ('five_keypoints', [*map(_five_keypoints, people)], [dict(person, keypoints=FIVE_KEYPOINTS)]),
    ):
        content = dict(images=images, annotations=chosen, categories=categories)
        (root / 'annotations' / f'{kind}_{split}.json').write_text(json.dumps(content))


def make_figures(root: Path, spec: FiguresSpec, report: Callable[[str], None] = lambda line: None) -> bool:
    """Write the data set into ``root``; return False if it is there already."""
    note = root / 'figures.json'
    wanted = json.dumps(asdict(spec), indent=2) + '\n'
    if note.is_file() and note.read_text() == wanted:
        return False
    note.unlink(missing_ok=True)
    (root / 'annotations').mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        _write_split(root, spec, split)
        report(f'{split}: {getattr(spec, split)} images, {spec.size} x {spec.size}')
    note.write_text(wanted)
    return True
