"""Video lists with checked lines, and repeated augmentation."""

import copy
import re
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from mmaction.datasets import VideoDataset
from mmengine.fileio import exists, list_from_file

from vidtx_mm.labels import class_names
from vidtx_mm.registry import DATASETS

DELIMITERS = {'\t': r'\s*\t\s*', ',': r'\s*,\s*', ' ': r'\s+'}


def parse_line(line: str, delimiter: str, num_labels: int | None) -> tuple[str, list[int]] | None:
    """Split 'path label ...' at the right end, so that a path may hold the delimiter; ``None`` where it does not fit.

    ``num_labels=None`` takes all whole numbers at the end. 'auto' tries tab, comma and space, in this order.
    """
    count = '+' if num_labels is None else f'{{{num_labels}}}'
    for separator in DELIMITERS.values() if delimiter == 'auto' else [DELIMITERS[delimiter]]:
        match = re.fullmatch(rf'(.+?)((?:{separator}-?\d+){count})', line)
        if match:
            return match[1].strip().strip('"'), [int(label) for label in re.findall(rf'{separator}(-?\d+)', match[2])]
    return None


@DATASETS.register_module()
class VideoListDataset(VideoDataset):
    """MMAction2's ``VideoDataset`` with lists that are checked when they are read.

    Lines are 'path label', split at the right end by space, comma or tab, so that paths may hold spaces. A line of
    another form, or a label outside the classes, raises one error that names file, line, text, expected form and
    remedy; ``VideoDataset`` ends in 'too many values to unpack', or in a device-side assert during training.

    Args:
        ann_file: the list.
        pipeline: transforms.
        num_classes: labels must be smaller; required with ``multi_class``. By default the number of ``classes``.
        classes: the class names, which checkpoints carry as ``dataset_meta['classes']``: a name of
            ``vidtx_mm.labels``, a text file with one name a line, or the names.
        multi_class: any number of labels on a line; the label becomes a multi-hot vector.
        class_splits: number of classes of each of the labels on a line (EPIC-Kitchens: noun, verb); the label becomes a
            vector with a one in each split, for ``VideoMultiClsHead``.
        num_repeats: repeated augmentation: a video is read and decoded once, and what follows the decoder runs this
            often. Needs ``collate_fn=dict(type='repeat_pseudo_collate')``; ``batch_size`` counts videos. MMAction2's
            ``RepeatAugDataset(sample_once=True)`` does the same for decord alone.
        delimiter: ' ', ',', tab, or 'auto' for the first of tab, comma and space that fits a line.
        test_mode: see ``VideoDataset``.
        kwargs: see ``VideoDataset``.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Sequence[Any],
        num_classes: int | None = None,
        classes: str | Sequence[str] | None = None,
        multi_class: bool = False,
        class_splits: Sequence[int] | None = None,
        num_repeats: int = 1,
        delimiter: str = 'auto',
        test_mode: bool = False,
        **kwargs: Any,
    ) -> None:
        if delimiter not in ('auto', *DELIMITERS):
            raise ValueError(f"VideoListDataset: delimiter={delimiter!r}: choose 'auto', ' ', ',' or '\\t'")
        if num_repeats > 1 and test_mode:
            raise ValueError(f'VideoListDataset: num_repeats={num_repeats} is for training; set it to 1 with test_mode')
        if class_splits:
            num_classes = sum(class_splits)
        if classes is not None:
            names = class_names(classes)
            num_classes = num_classes or len(names)
            if len(names) != num_classes:
                raise ValueError(
                    f'VideoListDataset: classes={classes!r} has {len(names)} names, but num_classes={num_classes}: set '
                    'classes to your file of names (one a line), or to None'
                )
            kwargs['metainfo'] = {**(kwargs.get('metainfo') or {}), 'classes': names}
        if multi_class and num_classes is None:
            raise ValueError('VideoListDataset: multi_class=True needs num_classes, the length of the label vectors')
        self.class_splits = class_splits
        self.num_repeats = num_repeats
        super().__init__(
            ann_file,
            pipeline=list(pipeline),
            num_classes=num_classes,
            multi_class=multi_class or class_splits is not None,
            delimiter=delimiter,
            test_mode=test_mode,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Read the list; raises ``FileNotFoundError`` or ``ValueError`` as the class says."""
        if not exists(self.ann_file):
            raise FileNotFoundError(f'{self.ann_file}: no such list; set ann_file (and data_root) of this data set')
        lines = [(n, line.strip()) for n, line in enumerate(list_from_file(self.ann_file), start=1) if line.strip()]
        if not lines:
            raise ValueError(f'{self.ann_file} is empty; expected lines of the form {self._form()!r}')
        return [self._entry(number, line) for number, line in lines]

    def _form(self) -> str:
        separator = ' ' if self.delimiter == 'auto' else self.delimiter
        labels = ['label'] * len(self.class_splits) if self.class_splits else ['label', '...'][: 1 + self.multi_class]
        return separator.join(['path', *labels])

    def _entry(self, number: int, line: str) -> dict:
        where = f'{self.ann_file} line {number}: {line!r}'
        num_labels = len(self.class_splits) if self.class_splits else None if self.multi_class else 1
        parsed = parse_line(line, self.delimiter, num_labels)
        if parsed is None:
            raise ValueError(
                f'{where} does not have the form {self._form()!r} with whole numbers as labels; correct the line, or '
                f'set delimiter (now {self.delimiter!r}) to what separates path and label'
            )
        path, labels = parsed
        splits = self.class_splits or [self.num_classes] * len(labels)
        for label, classes in zip(labels, splits, strict=True):
            if label < 0 or (classes is not None and label >= classes):
                last = 'num_classes - 1' if classes is None else classes - 1
                raise ValueError(
                    f'{where} has label {label}, but labels run from 0 to {last}; correct the list (labels start at 0) '
                    f'or set num_classes (now {classes}) of data set and head'
                )
        if self.class_splits:
            offsets = accumulate(self.class_splits, initial=0)
            labels = [label + offset for label, offset in zip(labels, offsets, strict=False)]
        prefix = self.data_prefix['video']
        filename = path if prefix is None else str(Path(prefix) / path)
        return dict(filename=filename, label=labels if self.multi_class else labels[0])

    def prepare_data(self, idx: int) -> Any:
        """One processed clip, or a list of ``num_repeats`` clips of the same frames."""
        if self.num_repeats == 1:
            return super().prepare_data(idx)
        results = self.get_data_info(idx)
        transforms = iter(self.pipeline.transforms)
        for transform in transforms:
            results = transform(results)
            if results is None:
                return None
            if 'imgs' in results:
                break
        rest = list(transforms)
        return [self._finish(copy.deepcopy(results), rest) for _ in range(self.num_repeats)]

    @staticmethod
    def _finish(results: dict, transforms: list) -> dict:
        for transform in transforms:
            results = transform(results)
        return results
