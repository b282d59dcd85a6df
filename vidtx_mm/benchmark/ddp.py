"""Scaling of training steps over processes: one process against several, each with the same batch and one thread."""

import multiprocessing
import socket
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from .pairs import Side
from .report import markdown
from .worker import Settings, Step

HEAD = ('model', 'processes', 's per step of one', 's per step of all', 'efficiency')
# As in the recipes; MMEngine's wrapper adds its own steps to this one.
wrap = partial(DistributedDataParallel, broadcast_buffers=False, gradient_as_bucket_view=True)


def measure(name: str, side: Side, settings: Settings, processes: int, runs: int, warmup: int) -> dict[str, Any]:
    """Run one process and a group of ``processes`` in turn.

    Returns:
        A row with the seconds of both, and the efficiency: the seconds of one divided by those of the group, whose
        slowest process counts, in each pair of runs (median, least, most). 1 means that the group trains ``processes``
        times as many clips in the same time.
    """
    with _group(side, settings, 1) as one, _group(side, settings, processes) as several:
        pairs = [(_step(one), _step(several)) for _ in range(warmup + runs)][warmup:]
    efficiency = [alone / together for alone, together in pairs]
    alone, together = zip(*pairs, strict=True)
    return dict(
        name=name,
        processes=processes,
        one=median(alone),
        several=median(together),
        efficiency=dict(median=median(efficiency), least=min(efficiency), most=max(efficiency)),
    )


def _step(group: list[Connection]) -> float:
    for connection in group:
        connection.send('run')
    try:
        return max(connection.recv() for connection in group)
    except EOFError:
        raise RuntimeError('a process ended with an error, see above') from None


@contextmanager
def _group(side: Side, settings: Settings, processes: int) -> Iterator[list[Connection]]:
    context = multiprocessing.get_context('spawn')
    with ExitStack() as stack, socket.socket() as probe:
        probe.bind(('localhost', 0))
        address = f'tcp://localhost:{probe.getsockname()[1]}'
        probe.close()
        connections = []
        for rank in range(processes):
            here, there = context.Pipe()
            process = context.Process(
                target=_serve, args=(there, side, settings, rank, processes, address), daemon=True
            )
            process.start()
            there.close()
            stack.callback(process.join, 30)
            stack.callback(here.close)
            connections.append(here)
        yield connections


def _serve(connection: Connection, side: Side, settings: Settings, rank: int, processes: int, address: str) -> None:
    """Take a training step whenever the parent asks for one, until it closes the connection."""
    warnings.filterwarnings('ignore', '`broadcast_buffers` is deprecated')  # older versions lack its successor
    torch.set_num_threads(settings.threads or 1)
    torch.manual_seed(settings.seed)
    model = side.build().train()
    if processes > 1:
        torch.distributed.init_process_group('gloo', init_method=address, rank=rank, world_size=processes)
        model = wrap(model)
    step = Step(side, model, settings)
    try:
        while connection.recv() == 'run':
            connection.send(step()[0])
    except EOFError:
        return


def table(rows: list[dict[str, Any]]) -> str:
    """Format rows as a Markdown table; the efficiency is median (least-most)."""
    return markdown(HEAD, map(_cells, rows))


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    spread = row['efficiency']
    return (
        row['name'],
        str(row['processes']),
        f'{row["one"]:.3g}',
        f'{row["several"]:.3g}',
        f'{spread["median"]:.2f} ({spread["least"]:.2f}-{spread["most"]:.2f})',
    )
