"""Measure a block of each attention scheme of TimeSformer-B: multiply-adds, seconds and memory of a forward pass."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from vidtx_mm.backbones import VideoTimeSformer
from vidtx_mm.backbones.timesformer_block import SCHEMES
from vidtx_mm.benchmark.complexity import count

DIM, HEADS = 768, 12


@dataclass(frozen=True)
class Cost:
    """Costs of a block on one clip of ``frames`` x ``side`` x ``side`` tokens; ``mib`` is the peak of live tensors."""

    attention: str
    frames: int
    side: int
    macs: int
    seconds: float
    mib: float


class Block(torch.nn.Module):
    """Run a block on (B, T, H, W, C) tokens, with a class token of zeros."""

    def __init__(self, attention: str) -> None:
        super().__init__()
        model = VideoTimeSformer(arch=dict(embed_dims=DIM, depth=1, num_heads=HEADS), attention=attention)
        self.block, self.frames_are_samples = model.blocks[0], attention == 'space'

    def forward(self, clips: Tensor) -> Tensor:
        grid = tuple(clips.shape[1:4])
        if self.frames_are_samples:
            clips, grid = clips.flatten(0, 1)[:, None], (1, *grid[1:])
        tokens = torch.nn.functional.pad(clips.flatten(1, 3), (0, 0, 1, 0))
        return self.block(tokens, grid)


def measure(attention: str, frames: int, side: int, runs: int = 3) -> Cost:
    """Measure one scheme. Seconds are CPU time of the fastest run; memory comes from PyTorch's profiler."""
    shape = (1, frames, side, side, DIM)
    with torch.device('meta'):
        macs = count(Block(attention), shape).macs
    block, clips = Block(attention).eval(), torch.randn(shape)
    with torch.no_grad():
        block(clips)
        seconds = []
        for _ in range(runs):
            start = time.process_time()
            block(clips)
            seconds.append(time.process_time() - start)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            block(clips)
    return Cost(attention, frames, side, macs, min(seconds), peak_mib(profile))


def peak_mib(profile: torch.profiler.profile) -> float:
    """Return the peak MiB of live tensors, from the recorded allocations and frees."""
    held = most = 0
    events: Any = profile.profiler
    for event in events.kineto_results.events():
        if event.name() == '[memory]':
            held += event.nbytes()
            most = max(most, held)
    return most / 2**20


def table(frames: Sequence[int], sides: Sequence[int], runs: int = 3) -> list[dict[str, Any]]:
    """Measure all schemes on clips of ``frames`` with 14 x 14 tokens each, and on 8 frames with ``sides``."""
    shapes = dict.fromkeys([*((t, 14) for t in frames), *((8, side) for side in sides)])
    return [asdict(measure(name, t, side, runs)) for name in SCHEMES for t, side in shapes]
