"""The data set of a video list."""

import copy
import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Annotated, Any

from mmaction.datasets import VideoDataset
from mmengine.dataset import Compose

from vidtx_mm.checks import OneOf, Positive, Positives, Rule
from vidtx_mm.labels import class_names
from vidtx_mm.registry import DATASETS
from vidtx_mm.video import VideoError

from .lists import DELIMITERS, parse_line, read_lines
from .unreadable import UnreadableClip, UnreadableVideos

SAMPLED_FILES = 64

Folders = Annotated[dict, Rule('dict(video=<folder>)', lambda d: [*d] == ['video'] and isinstance(d['video'], str))]


@DATASETS.register_module()
class VideoListDataset(VideoDataset):
    """MMAction2's ``VideoDataset`` with lists that are checked when they are read.

    Lines are 'path label', split at the right end by space, comma or tab, so that paths may hold spaces; lines that
    start with '# ' are comments. A line of another form, a label outside the classes, or a path with two labels raises
    one error that names file, line, text, expected form and remedy; ``VideoDataset`` ends in 'too many values to
    unpack', or in a device-side assert during training.

    With ``VideoInit`` and ``VideoDecode``, a video that cannot be read is written to ``bad_videos``; training draws
    another one, validation and test go on and count it as wrong. Where more than 10 % of at least 50 videos fail, the
    paths are wrong and the run stops.

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
        check_files: look for 'sample' (64 files), 'all' or 'none' of the local files at the start.
        on_error: 'skip' or 'raise' where a video cannot be read.
        bad_videos: the list of videos that could not be read; ``UnreadableVideosHook`` sets it to
            ``<work_dir>/bad_videos.txt``. (``IterBasedTrainLoop`` starts its workers before any hook: set it there.)
        test_mode, data_prefix: see ``VideoDataset``.
        kwargs: see ``VideoDataset``.
    """

    def __init__(
        self,
        ann_file: str,
        pipeline: Annotated[Sequence[dict | Callable], Rule('a list of transforms')],
        num_classes: Positive | None = None,
        classes: str | Sequence[str] | None = None,
        multi_class: bool = False,
        class_splits: Positives | None = None,
        num_repeats: Positive = 1,
        delimiter: Annotated[str, OneOf(('auto', *DELIMITERS))] = 'auto',
        check_files: Annotated[str, OneOf(('sample', 'all', 'none'))] = 'sample',
        on_error: Annotated[str, OneOf(('skip', 'raise'))] = 'skip',
        bad_videos: str | None = None,
        test_mode: bool = False,
        data_prefix: Folders | None = None,
        **kwargs: Any,
    ) -> None:
        self.check_files, self.on_error = check_files, on_error
        self.unreadable = UnreadableVideos(bad_videos)
        if num_repeats > 1 and test_mode:
            raise ValueError(f'num_repeats={num_repeats} is for training; set it to 1 with test_mode')
        if class_splits:
            num_classes = sum(class_splits)
        if classes is not None:
            names = class_names(classes)
            num_classes = num_classes or len(names)
            if len(names) != num_classes:
                raise ValueError(
                    f'classes={classes!r} has {len(names)} names, but num_classes={num_classes}: set '
                    'classes to your file of names (one a line), or to None'
                )
            kwargs['metainfo'] = {**(kwargs.get('metainfo') or {}), 'classes': names}
        if multi_class and num_classes is None:
            raise ValueError('multi_class=True needs num_classes, the length of the label vectors')
        self.class_splits = class_splits
        self.num_repeats = num_repeats
        super().__init__(
            ann_file,
            pipeline=list(pipeline),
            num_classes=num_classes,
            multi_class=multi_class or class_splits is not None,
            delimiter=delimiter,
            test_mode=test_mode,
            data_prefix=data_prefix or dict(video=''),
            **kwargs,
        )

    def full_init(self) -> None:
        """Read the list and look for its files."""
        if not self._fully_initialized:
            super().full_init()
            if self.check_files != 'none':
                self._look_for_files(1 if self.check_files == 'all' else max(len(self) // SAMPLED_FILES, 1))

    def _look_for_files(self, step: int) -> None:
        files = [self.get_data_info(index)['filename'] for index in range(0, len(self), step)]
        missing = [file for file in files if '://' not in file and not os.path.exists(file)]
        if missing:
            first = ''.join(f'\n  {os.path.abspath(file)}' for file in missing[:5])
            raise FileNotFoundError(
                f'{self.ann_file}: {len(missing)} of {len(files)} files looked for are missing:{first}\nCorrect '
                "data_root and data_prefix=dict(video=...), clean the list with 'python -m vidtx_mm check-videos', or "
                "set check_files='none' to leave missing videos out of training"
            )

    def load_data_list(self) -> list[dict]:
        """Read the list; raises ``FileNotFoundError`` or ``ValueError`` as the class says."""
        lines = read_lines(self.ann_file)
        if not lines:
            raise ValueError(f'{self.ann_file} is empty; expected lines of the form {self._form()!r}')
        entries = [self._entry(number, line) for number, line in lines]
        self._refuse_frame_folders(entries, lines)
        self._refuse_two_labels(entries, lines)
        return entries

    def _refuse_frame_folders(self, entries: list[dict], lines: list[tuple[int, str]]) -> None:
        """Refuse a list of 'folder frames label', whose every path looks like 'folder frames'."""
        paths = (os.path.basename(entry['filename']).rsplit(None, 1) for entry in entries)
        if all(len(parts) == 2 and '.' not in parts[0] and parts[1].isdecimal() for parts in paths):
            number, line = lines[0]
            raise ValueError(
                f"{self.ann_file} line {number}: {line!r} has the form 'folder frames label' of frame folders; "
                'read it with RawframeDataset (docs/data.md), or list video files'
            )

    def _refuse_two_labels(self, entries: list[dict], lines: list[tuple[int, str]]) -> None:
        labels: dict[str, Any] = {}
        for entry, (number, line) in zip(entries, lines, strict=True):
            if labels.setdefault(entry['filename'], entry['label']) != entry['label']:
                raise ValueError(
                    f'{self.ann_file} line {number}: {line!r} gives a second label to a video that has label '
                    f'{labels[entry["filename"]]} above; keep one of the lines, or set multi_class=True and write the '
                    'labels on one line'
                )

    def _form(self) -> str:
        separator = ' ' if self.delimiter == 'auto' else self.delimiter
        labels = ['label'] * len(self.class_splits) if self.class_splits else ['label', '...'][: 1 + self.multi_class]
        return separator.join(['path', *labels])

    def _entry(self, number: int, line: str) -> dict:
        num_labels = len(self.class_splits) if self.class_splits else None if self.multi_class else 1
        parsed = parse_line(line, self.delimiter, num_labels)
        if parsed is None:
            raise ValueError(
                f'{self.ann_file} line {number}: {line!r} does not have the form {self._form()!r} with whole numbers '
                f'as labels; correct the line, or set delimiter (now {self.delimiter!r}) to what separates both'
            )
        path, labels = parsed
        splits = self.class_splits or [self.num_classes] * len(labels)
        for label, classes in zip(labels, splits, strict=True):
            if label < 0 or (classes is not None and label >= classes):
                last = 'num_classes - 1' if classes is None else classes - 1
                raise ValueError(
                    f'{self.ann_file} line {number}: {line!r} has label {label}, but labels run from 0 to {last}; '
                    f'correct the list (labels start at 0) or set num_classes (now {classes}) of data set and head'
                )
        if self.class_splits:
            offsets = accumulate(self.class_splits, initial=0)
            labels = [label + offset for label, offset in zip(labels, offsets, strict=False)]
        prefix = self.data_prefix['video']
        filename = path if not prefix or '://' in path else os.path.join(prefix, path)
        return dict(filename=filename, label=labels if self.multi_class else labels[0])

    def prepare_data(self, idx: int) -> Any:
        """Return one processed clip, or a list of ``num_repeats`` clips of the same frames.

        ``None`` makes training draw another video. Raises ``VideoError`` with ``on_error='raise'``.
        """
        results = self.get_data_info(idx)
        self.unreadable.read += 1
        try:
            return self._clips(results)
        except VideoError as error:
            if self.on_error == 'raise':
                raise
            self.unreadable.add(results['filename'], error)
        return self._unreadable_clip(idx) if self.test_mode else None

    def _unreadable_clip(self, idx: int) -> dict:
        """Return a blank clip of the right shape, whose prediction will be wrong."""
        results = self.get_data_info(idx)
        clip = self.pipeline(results | dict(unreadable=True))
        sample, name = clip['data_samples'], results['filename']
        unreadable = UnreadableClip(metainfo=dict(sample.metainfo, filename=name), **dict(sample.items()))
        return clip | dict(data_samples=unreadable)

    def _clips(self, results: dict | None) -> Any:
        if self.num_repeats == 1:
            return self.pipeline(results)
        transforms = iter(self.pipeline.transforms)
        for transform in transforms:
            results = transform(results)
            if results is None:
                return None
            if 'imgs' in results:
                break
        rest = Compose(list(transforms))
        return [rest(copy.deepcopy(results)) for _ in range(self.num_repeats)]
