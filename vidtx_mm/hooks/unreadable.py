"""Tells data sets where to write down unreadable videos, and the user how many there were."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import all_gather_object, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from vidtx_mm.datasets import UnreadableClip, VideoListDataset
from vidtx_mm.registry import HOOKS

FILE = 'bad_videos.txt'


def video_lists(dataset: Any) -> Iterator[VideoListDataset]:
    """Yield every ``VideoListDataset`` in a data set that may wrap others."""
    if isinstance(dataset, VideoListDataset):
        yield dataset
    for inner in getattr(dataset, 'datasets', [getattr(dataset, 'dataset', None)]):
        if inner is not None:
            yield from video_lists(inner)


@HOOKS.register_module()
class UnreadableVideosHook(Hook):
    """Collect unreadable videos in ``<work_dir>/bad_videos.txt`` and say at the end how many there were.

    Validation and test count them as wrong; training leaves them out.
    """

    def before_train(self, runner: Runner) -> None:
        self._collect(runner, runner.train_dataloader.dataset)

    def before_val_epoch(self, runner: Runner) -> None:
        self._collect(runner, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        self._collect(runner, runner.test_dataloader.dataset)

    def _collect(self, runner: Runner, dataset: Any) -> None:
        self.wrong: set[str] = set()
        for videos in video_lists(dataset):
            videos.unreadable.file = videos.unreadable.file or str(Path(runner.work_dir) / FILE)

    def _after_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None, mode: str = 'train'
    ) -> None:
        if mode != 'train':
            self.wrong |= {sample.filename for sample in outputs if isinstance(sample, UnreadableClip)}

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._report(runner, len(runner.val_dataloader.dataset))

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._report(runner, len(runner.test_dataloader.dataset))

    def _report(self, runner: Runner, total: int) -> None:
        wrong: Sequence[str] = sorted(set().union(*all_gather_object(self.wrong)))
        if wrong:
            runner.logger.warning(f'{len(wrong):,} of {total:,} videos could not be read, counted as wrong: see {FILE}')

    @master_only
    def after_train(self, runner: Runner) -> None:
        lists = list(video_lists(runner.train_dataloader.dataset))
        files = {Path(videos.unreadable.file) for videos in lists if videos.unreadable.file}
        bad = {line.split('\t')[0] for file in files if file.exists() for line in file.read_text('utf-8').splitlines()}
        names = [videos.get_data_info(index)['filename'] for videos in lists if bad for index in range(len(videos))]
        if skipped := bad & set(names):
            runner.logger.warning(
                f'{len(skipped):,} of {len(names):,} training videos could not be read and were left out: see {FILE}'
            )
