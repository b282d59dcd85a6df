"""Input shape and counter of a config, by its default scope."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config

from .complexity import Complexity, Shape, count_config, view_shape
from .dense import DETECTION_SHAPE, count_classifier, count_detector, count_pose, image_shape, pose_shape

KINDS: dict[str, tuple[Callable[[Config], Shape], Callable[[Config, Shape], Complexity]]] = {
    'mmaction': (view_shape, count_config),
    'mmdet': (lambda cfg: DETECTION_SHAPE, count_detector),
    'mmpose': (pose_shape, count_pose),
    'mmpretrain': (image_shape, count_classifier),
}


def count_file(path: str | Path, shape: Sequence[int] = ()) -> tuple[Shape, Complexity]:
    """Count the model of a config file on an input of ``shape``, without the batch; () takes that of its test pipeline.

    Returns:
        The shape and the counts.
    """
    cfg = Config.fromfile(path)
    shape_of, count = KINDS[cfg.default_scope]
    view = tuple(shape or shape_of(cfg))
    return view, count(cfg, view)
