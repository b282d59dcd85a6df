"""The same eight clips in one process or in two of four each, for every family; imported by the processes of a test."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).resolve().parents[1] / 'backbones'))

from cases import CASES

from vidtx_mm.registry import MODELS

NAMES = ('swin-joint', 'timesformer-divided', 'vivit', 'vivit-encoder', 'uniformer', 'uniformer-light')
ROWS: dict[str, dict[str, Any]] = {
    **{name: {} for name in NAMES},
    'uniformer, norm_eval': dict(norm_eval=True),
}
STEPS = 4


def model(row: str) -> nn.Module:
    """A backbone without random depth, the average of its output and a classifier; always the same weights."""
    torch.manual_seed(0)
    (case,) = (case for case in CASES if case.name == row.split(',')[0])
    backbone = MODELS.build(dict(type=f'vidtx_mm.{case.type}', **dict(case.kwargs, drop_path_rate=0.0) | ROWS[row]))
    return nn.Sequential(backbone, Average(), nn.Linear(backbone.out_channels[-1], 5))


class Average(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.ndim == 2 else x.flatten(2).mean(2) if x.ndim == 5 else x.mean(1)


def train(row: str, rank: int = 0, number: int = 1) -> dict[str, Tensor]:
    """Take a few steps of SGD on this process's share of the clips; return the weights."""
    net = model(row)
    generator = torch.Generator().manual_seed(1)
    clips, labels = torch.randn(STEPS, 8, 3, 4, 32, 32, generator=generator), torch.arange(8) % 5
    wrapped = nn.parallel.DistributedDataParallel(net) if number > 1 else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    wrapped.train()
    for batch in clips:
        optimizer.zero_grad()
        nn.functional.cross_entropy(wrapped(batch[rank::number]), labels[rank::number]).backward()
        optimizer.step()
    return net.state_dict()


def worker(folder: Path, rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='localhost', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    found = {row: train(row, rank, 2) for row in ROWS}
    torch.distributed.destroy_process_group()
    if rank == 0:
        torch.save(found, folder / 'two.pth')
