"""Tables of a device: models beside their references, backends of attention, and candidates for the kernels.

Both sides of a pair run in this process, since the imports of a process for each would take most of the time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..layers.kernels import biased_attention, depthwise_conv
from .complexity import flops
from .memory import Memory, MiB
from .pairs import Pair, Side, build_backbone, build_mmaction
from .report import summarize
from .sdpa import AttentionCalls, Call
from .timing import timed
from .worker import Finished, Settings, Step, perturb

SPEED_UPS = {'swin3d_t': 2.0, 'uniformer_s': 2.0, 'timesformer': 2.0, 'vivit_b': 1.5}  # wanted of training steps
GEMM_SHARE = 0.35  # wanted at least, of forward passes
MEMORY_RATIO = 0.6  # wanted at most, of training steps
_TINY: dict[str, Any] = dict(
    arch=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2]), window_size=(2, 7, 7), drop_path_rate=0.0
)
TINY_PAIRS = {
    'swin3d_t': Pair(
        Side(partial(build_backbone, 'VideoSwin', **_TINY)),
        Side(partial(build_mmaction, 'swin', 'SwinTransformer3D', **_TINY)),
        frames=4,
        size=56,
    )
}


class Models:
    """The models of a pair on a device, with the same weights."""

    def __init__(self, pair: Pair, device: str) -> None:
        from vidtx_mm.weights import load_pretrained

        assert pair.reference is not None
        torch.manual_seed(0)
        self.pair = pair
        self.sides = dict(ours=pair.ours.build(), reference=pair.reference.build())
        perturb(self.sides['reference'])
        load_pretrained(self.sides['ours'], self.sides['reference'].state_dict(), **pair.load)
        for model in self.sides.values():
            model.to(device)

    def compare(self, name: str, settings: Settings, gemm_rate: float, runs: int, warmup: int) -> dict[str, Any]:
        """Run both sides in turn and return a row like that of :func:`vidtx_mm.benchmark.run.measure`.

        The peak memory of a side includes its weights and not those of the other.
        """
        steps: dict[str, Step] = {}
        finished: dict[str, Finished] = {}
        for role, model in self.sides.items():
            model.train(settings.mode == 'train')
            memory = Memory(settings.device)
            memory.reset()
            step = steps[role] = Step(getattr(self.pair, role), model, settings)
            output: Tensor | None = None
            for _ in range(warmup):
                output = step.run()
            weights = sum(value.numel() * value.element_size() for value in model.state_dict().values()) / MiB
            compared = output.float().cpu().numpy() if output is not None and settings.mode == 'forward' else None
            finished[role] = Finished(memory.idle, memory.peak() + weights, compared)
        seconds: dict[str, list[float]] = {role: [] for role in steps}
        for _ in range(runs):
            for role, step in steps.items():
                seconds[role].append(step()[0])
        for model in self.sides.values():
            model.zero_grad()
        row = summarize(name, settings, seconds, finished, "the reference's")
        return row | dict(flops=flops(self.pair.ours, settings), gemm_rate=gemm_rate)

    def attention_calls(self, settings: Settings) -> list[Call]:
        """Return the attentions of our model for one clip."""
        model = self.sides['ours'].train(settings.mode == 'train')
        step = Step(self.pair.ours, model, replace(settings, batch=1))
        with AttentionCalls() as recorder:
            step.run()
        model.zero_grad()
        return recorder.calls


def targets(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a row should reach: name, value, limit and whether it is met."""
    if row['settings']['mode'] == 'forward':
        share = row['flops'] / row['ours']['median'] / row['gemm_rate']
        wanted = [('share of GEMM rate', share, '>=', GEMM_SHARE)]
    else:
        wanted = [
            ('speed-up', 1 / row['time_ratio']['median'], '>=', SPEED_UPS[row['name']]),
            ('memory ratio', row['memory_ratio'], '<=', MEMORY_RATIO),
        ]
    return [
        dict(
            model=row['name'],
            mode=row['settings']['mode'],
            target=f'{name} {sign} {limit}',
            value=value,
            met=value >= limit if sign == '>=' else value <= limit,
        )
        for name, value, sign, limit in wanted
    ]


def kernel_times(device: str, small: bool) -> list[dict[str, Any]]:
    """Time forward and backward of the candidates for the kernels in bf16, None for what does not run.

    The sizes are those of the first stages of UniFormer-S and Swin-T with eight clips.
    """
    grid, windows = ((1, 2, 8, 8, 8), (2, 1, 98, 32)) if small else ((8, 8, 56, 56, 64), (1024, 3, 392, 32))
    options: dict[str, Any] = dict(device=device, dtype=torch.bfloat16, requires_grad=True)
    x, weight, offset = (torch.randn(shape, **options) for shape in (grid, (grid[-1], 1, 5, 5, 5), (grid[-1],)))
    q, k, v, bias = (torch.randn(shape, **options) for shape in (*[windows] * 3, (windows[1], *[windows[2]] * 2)))

    def channels_last() -> Tensor:
        return F.conv3d(x.movedim(-1, 1), weight, offset, padding=2, groups=grid[-1])

    def attend() -> Tensor:
        return biased_attention(q, k, v, bias, [(len(q), None)])

    candidates: list[tuple[str, str, AbstractContextManager, Callable[[], Tensor], list[Tensor]]] = [
        ('depthwise 5x5x5', 'chosen', nullcontext(), lambda: depthwise_conv(x, weight, offset), [x, weight]),
        ('depthwise 5x5x5', 'channels last', nullcontext(), channels_last, [x, weight]),
        ('window attention', 'chosen', nullcontext(), attend, [q, k, v, bias]),
    ]
    if device == 'cuda':
        for name in ('EFFICIENT_ATTENTION', 'CUDNN_ATTENTION', 'MATH'):
            if backend := getattr(SDPBackend, name, None):
                candidates.append(('window attention', name, sdpa_kernel(backend), attend, [q, k, v, bias]))
    rows = []
    for kernel, name, context, function, inputs in candidates:

        def both(function: Callable[[], Tensor] = function, inputs: list[Tensor] = inputs) -> None:
            torch.autograd.grad(function().sum(), inputs)

        with context:
            rows.append(dict(kernel=kernel, candidate=name, seconds=_best(both, device)))
    return rows


def _best(function: Callable[[], None], device: str) -> float | None:
    try:
        return min([timed(function, device)[0] for _ in range(4)][1:])
    except RuntimeError:  # no kernel for these inputs, or too little memory
        return None
