"""A check of segmentation label maps."""

import numpy as np
from mmcv.transforms import BaseTransform

from vidtx_mm.checks import Positive
from vidtx_mm.registry import TRANSFORMS

IGNORED = 255


@TRANSFORMS.register_module()
class CheckLabelMap(BaseTransform):
    """Raise if a label map holds a label outside the classes, which would end in a device-side assert in training.

    Place it after ``LoadAnnotations``. The label 255 is ignored.

    Args:
        num_classes: number of classes of the decode head.

    Raises:
        ValueError: with the file, the label and the remedy.
    """

    def __init__(self, num_classes: Positive) -> None:
        self.num_classes = num_classes

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_classes={self.num_classes})'

    def transform(self, results: dict) -> dict:
        labels = results['gt_seg_map']
        wrong = np.unique(labels[(labels >= self.num_classes) & (labels != IGNORED)])
        if wrong.size:
            reduced = results.get('reduce_zero_label', False)
            raise ValueError(
                f'{results.get("seg_map_path")}: label {wrong[0]} is not below num_classes={self.num_classes} '
                f'(reduce_zero_label={reduced}). '
                + (
                    'Correct the label map or num_classes.'
                    if reduced
                    else 'If labels start at 1 and 0 means "ignore", set reduce_zero_label=True; otherwise correct '
                    'the label map or num_classes.'
                )
            )
        return results
