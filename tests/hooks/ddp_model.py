"""Training in one process or in two, for every family; imported by the processes of a test."""

import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

sys.path.append(str(Path(__file__).resolve().parents[1] / 'backbones'))

from cases import CASES, Case
from mmengine.config import Config
from mmengine.registry import MODEL_WRAPPERS

from vidtx_mm.registry import MODELS

NAMES = ('swin-joint', 'timesformer-divided', 'vivit', 'vivit-encoder', 'uniformer', 'uniformer-light')
ROWS: dict[str, dict[str, Any]] = {
    **{name: {} for name in NAMES},
    'uniformer, norm_eval': dict(norm_eval=True),
    'uniformer, shared statistics': {},
}
STEPS = 4
RECIPE = Path(__file__).parents[2] / 'configs/swin3d_t_k400.py'


def model(name: str, **changes: Any) -> nn.Module:
    """A backbone without random depth, the average of its output and a classifier; always the same weights."""
    torch.manual_seed(0)
    (case,) = (case for case in CASES if case.name == name)
    backbone = MODELS.build(dict(type=f'vidtx_mm.{case.type}', **dict(case.kwargs, drop_path_rate=0.0) | changes))
    return nn.Sequential(backbone, Average(), nn.Linear(backbone.out_channels[-1], 5))


class Average(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.ndim == 2 else x.flatten(2).mean(2)


def share_statistics(self: nn.BatchNorm3d, x: Tensor) -> Tensor:
    """The formula of SyncBatchNorm in training; torch's own needs a GPU."""
    axes = [axis for axis in range(x.ndim) if axis != 1]
    number = torch.distributed.get_world_size()
    moments = all_reduce(torch.stack([x.mean(axes), x.square().mean(axes)])) / number
    mean, variance = moments[0], moments[1] - moments[0].square()
    count = x.numel() / x.shape[1] * number
    with torch.no_grad():
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * count / (count - 1), self.momentum)
    scale = self.weight * (variance + self.eps).rsqrt()
    shape = (-1, *[1] * (x.ndim - 2))
    return x * scale.view(shape) + (self.bias - mean * scale).view(shape)


def train(row: str, rank: int = 0, number: int = 1) -> dict[str, Tensor]:
    """Take a few steps of SGD on this process's share of the clips; return the weights."""
    net = model(row.split(',')[0], **ROWS[row])
    if number > 1 and row.endswith('shared statistics'):
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm3d):
                norm.forward = partial(share_statistics, norm)  # type: ignore[method-assign]
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


def wrapped(case: Case, with_cp: bool, wrap: Callable[[nn.Module], nn.Module]) -> tuple[dict[str, Tensor], list[str]]:
    """Accumulate the second of three batches; return the weights and the names of parameters without a gradient.

    DistributedDataParallel fails at the next batch if a process left a parameter out.
    """
    net = model(case.name, with_cp=with_cp)
    wrapped = wrap(net)
    rank = torch.distributed.get_rank()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    without: list[str] = []
    for index, clips in enumerate(torch.randn(3, 4, 3, *case.input, generator=torch.Generator().manual_seed(1))):
        with wrapped.no_sync() if index == 1 else nullcontext():
            nn.functional.cross_entropy(wrapped(clips[rank::2]), torch.arange(2)).backward()
        if index != 1:
            without += [name for name, value in net.named_parameters() if value.grad is None]
            optimizer.step()
            optimizer.zero_grad()
    return net.state_dict(), without


def difference(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """Return the largest difference of a weight or running statistic."""
    return max(float((two[name] - value).abs().max()) for name, value in one.items() if value.is_floating_point())


def worker(folder: Path, rank: int, port: int) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR='localhost', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    found = {row: train(row, rank, 2) for row in ROWS}
    settings = Config.fromfile(RECIPE).model_wrapper_cfg

    def as_the_runner_does(net: nn.Module) -> nn.Module:
        return MODEL_WRAPPERS.build(dict(settings), default_args=dict(module=net, device_ids=[rank]))

    recipes = {}
    for case in CASES:
        plain, without = wrapped(case, False, nn.parallel.DistributedDataParallel)
        weights, without_either = wrapped(case, True, as_the_runner_does)
        recipes[case.name] = [*without, *without_either], difference(plain, weights)
    torch.distributed.destroy_process_group()
    if rank == 0:
        torch.save(found, folder / 'two.pth')
        torch.save(recipes, folder / 'recipes.pth')
