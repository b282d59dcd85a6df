"""Child process of ``vidtx benchmark-data``: run a config's training pipeline on command.

It imports nothing of this checkout by itself, so that it also runs with another checkout on ``PYTHONPATH``. Commands
and answers are lines of JSON on stdin and stdout.
"""

import json
import random
import sys
import time
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch.utils.data import DataLoader, Dataset

DECODERS = {'VideoInit': 'DecordInit', 'VideoDecode': 'DecordDecode'}


def resident_mib() -> float:
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096 / 2**20


class Clips(Dataset):
    """Clips of the training pipeline of a config, each from a seed of its own."""

    def __init__(self, config: str, videos: list[str], decoder: dict[str, Any]) -> None:
        """``decoder`` is ``{'host': True}`` for the decoder of MMAction2, else options of ``VideoInit``."""
        pipeline = [dict(step) for step in Config.fromfile(config).train_pipeline]
        for step in pipeline:
            name = step['type'].split('.')[-1]
            if decoder.get('host') and name in DECODERS:
                step.clear()
                step['type'] = DECODERS[name]
            elif name == 'VideoInit':
                step.update(decoder)
        from mmaction.registry import TRANSFORMS

        self.names = [step['type'].split('.')[-1] for step in pipeline]
        self.transforms = [TRANSFORMS.build(step) for step in pipeline]
        self.videos = videos
        self.seconds = np.zeros(len(pipeline))
        self.length = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        random.seed(index)
        np.random.seed(index)
        results: Any = dict(
            filename=self.videos[index % len(self.videos)], label=0, start_index=0, modality='RGB', num_classes=1
        )
        for i, transform in enumerate(self.transforms):
            start = time.process_time()
            results = transform(results)
            self.seconds[i] += time.process_time() - start
        return results['inputs']

    def run(self, first: int, count: int) -> dict[str, Any]:
        """Return the milliseconds of processor time that each step takes for a clip, and the clips per second."""
        self.seconds[:] = 0
        start = time.perf_counter()
        for index in range(first, first + count):
            self[index]
        elapsed = time.perf_counter() - start
        return dict(steps=list(zip(self.names, 1000 * self.seconds / count, strict=True)), per_second=count / elapsed)

    def load(self, workers: int, count: int) -> float:
        """Return the clips per second of a data loader, without the first quarter."""
        self.length = count
        loader = DataLoader(self, batch_size=None, num_workers=workers)
        start, counted = 0.0, 0
        for number, _ in enumerate(loader):
            if number == count // 4:
                start, counted = time.perf_counter(), count - number - 1
        return counted / (time.perf_counter() - start)

    def leak(self, count: int, points: int = 10) -> list[float]:
        """Return the MiB of this process after each tenth of ``count`` clips."""
        memory = []
        for index in range(count):
            self[index]
            if (index + 1) % max(1, count // points) == 0:
                memory.append(resident_mib())
        return memory


def main() -> None:
    import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported

    answers = sys.stdout
    sys.stdout = sys.stderr  # the libraries may print
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    with DefaultScope.overwrite_default_scope('mmaction'):
        clips = Clips(**json.loads(sys.argv[1]))
        for line in sys.stdin:
            name, arguments = json.loads(line)
            print(json.dumps(getattr(clips, name)(*arguments)), file=answers, flush=True)


if __name__ == '__main__':
    main()
