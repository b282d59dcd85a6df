"""Videos that cannot be read: written down once, left out of training, counted as wrong in validation and test."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from mmaction.structures import ActionDataSample
from mmengine.logging import print_log

from vidtx_mm.video import VideoError

MIN_READ, MAX_SHARE = 50, 0.1


class UnreadableClip(ActionDataSample):
    """The sample of a video that could not be read: whatever the model predicts, its true labels come last."""

    def set_pred_score(self, value: Any) -> 'UnreadableClip':
        super().set_pred_score(value)
        scores, label = torch.zeros_like(self.pred_score), self.gt_label
        scores[label > 0 if label.shape == scores.shape else label] = -1
        return super().set_pred_score(scores)

    def set_pred_label(self, value: Any) -> 'UnreadableClip':
        return super().set_pred_label(self.pred_score.argmax() if 'pred_score' in self else value)


class UnreadableVideos:
    """Count of the videos that one process has read, and those that it could not.

    Attributes:
        file: the list that collects 'path<tab>reason', once per path for all processes; ``None`` writes nothing.
    """

    def __init__(self, file: str | None) -> None:
        self.file = file
        self.read = 0
        self.reasons: dict[str, str] = {}
        self._failed = 0

    def add(self, name: str, error: VideoError) -> None:
        """Note a video; raises ``VideoError`` where so many fail that paths must be wrong, not videos."""
        self._failed += 1
        if name not in self.reasons:
            self.reasons[name] = error.reason
            print_log(f'cannot read {name}: {error.reason}', logger='current', level=logging.WARNING)
            if self.file:
                add_line(Path(self.file), name, error.reason)
        if self.read >= MIN_READ and self._failed > MAX_SHARE * self.read:
            raise VideoError(
                f'{self._failed} of {self.read} videos could not be read, the last one {name} ({error.reason}): '
                'correct data_root, data_prefix or the list, or clean the list with: python -m vidtx_mm check-videos'
            ) from error


def add_line(file: Path, name: str, reason: str) -> None:
    """Append 'name<tab>reason' to a file that several processes write, unless it has a line of that name."""
    start = f'{name}\t'
    with file.open('a+', encoding='utf-8', errors='surrogateescape') as stream:
        with suppress(
            ImportError, OSError
        ):  # without locks (Windows, some network drives) a name may stand there twice
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)  # released when the file is closed
        stream.seek(0)
        if not any(line.startswith(start) for line in stream):
            stream.write(f'{start}{" ".join(reason.split())}\n')
