"""Recognizer that computes the views of a test in chunks that fit in memory."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from mmaction.models.recognizers import Recognizer3D
from mmengine.logging import MMLogger
from torch import Tensor

from vidtx_mm.checks import Cfg, Positive, Rule, fits
from vidtx_mm.registry import MODELS

CPU_VALUES = 2**19  # input values of a chunk for each thread; the activations of larger ones leave the cache
CUDA_SHARE = 0.5  # of the free memory

TestCfg = Annotated[
    dict,
    Rule(
        'a dict with a positive integer as max_testing_views',
        lambda cfg: fits(cfg.get('max_testing_views'), Positive | None),
    ),
]


@MODELS.register_module()
class VideoRecognizer(Recognizer3D):
    """MMAction2's Recognizer3D with a limit on the views that a test computes at a time.

    A view is one crop of one clip. Backbones treat views independently, so that any chunk size gives the same scores up
    to rounding. By default the size follows from the memory of the GPU, see :func:`views_at_a_time`, and is halved when
    a chunk does not fit after all; ``test_cfg.max_testing_views`` fixes it, for batches of one video.
    """

    def __init__(
        self,
        backbone: Cfg,
        cls_head: Cfg | None = None,
        neck: Cfg | None = None,
        train_cfg: dict | None = None,
        test_cfg: TestCfg | None = None,
        data_preprocessor: Cfg | None = None,
    ) -> None:
        super().__init__(backbone, cls_head, neck, train_cfg, test_cfg, data_preprocessor)
        self._chunk_sizes: dict[tuple[int, ...], int] = {}  # by the shape of a view

    def extract_feat(self, inputs: Tensor, *args: Any, test_mode: bool = False, **kwargs: Any) -> tuple:
        """Extract features of clips (B, views, C, T, H, W), in tests chunk by chunk; their first axis is B * views."""
        extract = partial(super().extract_feat, *args, test_mode=test_mode, **kwargs)
        fixed = self.test_cfg is not None and self.test_cfg.get('max_testing_views')
        views = inputs.flatten(0, 1).unsqueeze(1)  # (B * views, 1, C, T, H, W)
        if not test_mode or fixed or len(views) == 1 or torch.compiler.is_compiling():
            return extract(inputs)
        features, options = zip(*self._in_chunks(extract, views), strict=True)
        return concatenate(features), options[0]

    def _in_chunks(self, extract: Callable[[Tensor], tuple], views: Tensor) -> list[tuple]:
        """Return the results for chunks of views (N, 1, C, T, H, W)."""
        size = self._chunk_sizes.get(views.shape[1:]) or views_at_a_time(extract, views)
        while True:
            self._chunk_sizes[views.shape[1:]] = size
            try:
                return [extract(chunk) for chunk in views.chunk(math.ceil(len(views) / size))]
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
            # Not in the handler, whose traceback keeps the tensors of the failed chunk.
            torch.cuda.empty_cache()
            size = min(size, len(views)) // 2
            MMLogger.get_current_instance().warning(
                f'{type(self).__name__}: out of GPU memory, goes on with {size} views at a time; to start with them, '
                f'set model.test_cfg.max_testing_views={size}'
            )


def views_at_a_time(extract: Callable[[Tensor], tuple], views: Tensor) -> int:
    """Return how many of the views (N, ...) to compute at a time.

    On CUDA the memory of one view is measured, and a chunk may take half of what is free. On the CPU a chunk of few
    views is fastest.
    """
    if not views.is_cuda:
        return max(1, CPU_VALUES * torch.get_num_threads() // views[0].numel())
    device = views.device
    allocated = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    extract(views[:1])
    needed = torch.cuda.max_memory_allocated(device) - allocated
    free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - allocated
    return max(1, int(CUDA_SHARE * free / max(needed, 1)))


def concatenate(features: Sequence[Any]) -> Any:
    """Concatenate the features of chunks, tensors or tuples of them, along the first axis."""
    if isinstance(features[0], Tensor):
        return torch.cat(list(features))
    return tuple(map(concatenate, zip(*features, strict=True)))
