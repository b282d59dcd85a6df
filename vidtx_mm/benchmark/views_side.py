"""Child process of ``vidtx benchmark-views``: test a config's recognizer on the views of one video, on command.

It imports the package of the checkout on ``PYTHONPATH``. Commands and answers are lines of JSON on stdin and stdout.
"""

import json
import sys
import time
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope


class Video:
    """A recognizer with random weights, always the same, and random views (views, C, T, H, W) of bytes."""

    def __init__(self, config: str, shape: list[int], views_at_a_time: int | None, device: str) -> None:
        """``views_at_a_time=None`` leaves the number to the recognizer."""
        from mmaction.structures import ActionDataSample

        torch.manual_seed(0)
        cfg = Config.fromfile(config)
        cfg.model.backbone.init_cfg = None
        if views_at_a_time:
            cfg.model.test_cfg = dict(max_testing_views=views_at_a_time)
        with DefaultScope.overwrite_default_scope('mmaction'):
            self.model: Any = MODELS.build(cfg.model).to(device).eval()
        torch.nn.init.normal_(self.model.cls_head.fc_cls.weight, std=0.01)  # some start at zero
        self.views = torch.randint(256, shape, dtype=torch.uint8)
        self.samples = [ActionDataSample()]
        self.device = device

    @torch.no_grad()
    def run(self) -> tuple[float, list[float]]:
        """Return the seconds of a view and the scores of the video."""
        start = time.perf_counter()
        (result,) = self.model.test_step(dict(inputs=[self.views], data_samples=self.samples))
        scores = result.pred_score.tolist()  # waits for the GPU
        return (time.perf_counter() - start) / len(self.views), scores

    def peak(self) -> float:
        """Return the peak memory of this process, or of its tensors on the GPU, in MiB."""
        from vidtx_mm.benchmark.memory import MiB, resident_peak

        return torch.cuda.max_memory_allocated() / MiB if self.device == 'cuda' else resident_peak()


def main() -> None:
    import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported

    answers = sys.stdout
    sys.stdout = sys.stderr  # the libraries may print
    video = Video(**json.loads(sys.argv[1]))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(getattr(video, name)(*arguments)), file=answers, flush=True)


if __name__ == '__main__':
    main()
