"""Measure time and memory of every attention design against frames, size and batch, fit and draw them.

python docs/figures/scaling.py              # docs/scaling.json, docs/images/scaling.png, and the table of the page
python docs/figures/scaling.py --draw       # draw and print the numbers of docs/scaling.json again

Seconds are CPU time of one thread, the faster of two runs. Memory is the peak size of all live tensors but weights. It
takes four minutes on a free core.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from scheme_costs import peak_mib
from torch import nn

from vidtx_mm.backbones import VideoSwin, VideoTimeSformer, VideoUniFormer, ViViT
from vidtx_mm.benchmark.complexity import count
from vidtx_mm.benchmark.report import machine, markdown, versions

DOCS = Path(__file__).resolve().parents[1]
VIT = dict(embed_dims=384, depth=1, num_heads=6)
SWIN = dict(embed_dims=96, depths=(2, 2, 2, 2), num_heads=(3, 6, 12, 24))
UNIFORMER = dict(embed_dims=(64, 128, 320, 512), depths=(1, 1, 1, 1), head_dim=64, mlp_ratio=4.0)

# Small models with one block for each kind of attention, and outputs that need all tokens of the last block.
# ViViT's tokens span two frames.
_vivit = partial(ViViT, VIT, temporal_depth=1, pool='avg')
_timesformer = partial(VideoTimeSformer, VIT, num_frames=8, pool='avg')
_uniformer = partial(VideoUniFormer, UNIFORMER)
DESIGNS: dict[str, Callable[[], nn.Module]] = {
    'Video Swin': partial(VideoSwin, SWIN),
    'UniFormer joint': partial(_uniformer, attention='joint'),
    'UniFormer split': partial(_uniformer, attention='split'),
    'ViViT 1, joint': partial(_vivit, attention='joint'),
    'ViViT 2, encoder': partial(_vivit, attention='factorized_encoder'),
    'ViViT 3, self-attention': partial(_vivit, attention='factorized_self_attention'),
    'ViViT 4, dot product': partial(_vivit, attention='factorized_dot_product'),
    **{
        f'TimeSformer {name}': partial(_timesformer, attention=name)
        for name in ('space', 'joint', 'divided', 'local_global', 'axial')
    },
}
BASE = dict(batch=1, frames=8, size=224)
AXES: dict[str, tuple[int, ...]] = dict(frames=(8, 16, 32, 64), size=(128, 160, 224, 288), batch=(1, 2, 4))
MARKERS = {'Video Swin': 'D', 'UniFormer': '^', 'ViViT': 's', 'TimeSformer': 'o'}
COLORS = colormaps['tab20']
LABELS = dict(frames='frames', size='height and width in pixels', batch='clips')


@dataclass(frozen=True)
class Cost:
    """Costs of a forward pass on ``batch`` clips of ``frames`` x ``size`` x ``size``."""

    design: str
    batch: int
    frames: int
    size: int
    macs: int
    seconds: float
    mib: float


def shapes() -> list[dict[str, int]]:
    """Return the measured shapes: along each axis, with the other two at their base."""
    shapes = [BASE | {axis: value} for axis, values in AXES.items() for value in values]
    return [dict(items) for items in dict.fromkeys(tuple(shape.items()) for shape in shapes)]


def multiply_adds(design: str, batch: int, frames: int, size: int) -> int:
    """Count the multiply-adds of a forward pass; nothing is computed."""
    with torch.device('meta'):
        model = DESIGNS[design]()
    return count(model, (batch, 3, frames, size, size)).macs


def measure(design: str, model: nn.Module, runs: int = 2, **shape: int) -> Cost:
    """Measure one forward pass."""
    clips = torch.randn(shape['batch'], 3, shape['frames'], shape['size'], shape['size'])
    seconds = []
    with torch.no_grad():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            model(clips)
        for _ in range(runs):
            start = time.process_time()
            model(clips)
            seconds.append(time.process_time() - start)
    return Cost(design, **shape, macs=multiply_adds(design, **shape), seconds=min(seconds), mib=peak_mib(profile))


def fit(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Return the exponent p of y = c x^p by least squares of the logarithms, and R squared of a line through (x, y)."""
    exponent = np.polyfit(np.log(x), np.log(y), 1)[0]
    return float(exponent), float(np.corrcoef(x, y)[0, 1] ** 2)


def curve(costs: Sequence[Mapping[str, Any]], design: str, axis: str, key: str) -> tuple[list[float], list[float]]:
    """Return x and y of a design along an axis, with the other two at their base; x of a size is the pixels."""
    rows = [
        row
        for row in costs
        if row['design'] == design and all(row[other] == value for other, value in BASE.items() if other != axis)
    ]
    points = sorted((row[axis] ** (2 if axis == 'size' else 1), row[key]) for row in rows)
    return [x for x, _ in points], [y for _, y in points]


def table(costs: Sequence[Mapping[str, Any]]) -> str:
    """Format the fits: exponents over frames, pixels and clips, and R squared of a line over frames."""
    head = ['design', *(f'{key}, {axis}' for key in ('time', 'memory') for axis in ('frames', 'pixels', 'clips'))]
    rows = []
    for design in dict.fromkeys(row['design'] for row in costs):
        cells = [design]
        for key in ('seconds', 'mib'):
            for axis in AXES:
                exponent, linear = fit(*curve(costs, design, axis, key))
                cells.append(f'{exponent:.2f} ({linear:.4f})' if axis == 'frames' else f'{exponent:.2f}')
        rows.append(cells)
    return markdown(head, rows)


def draw(costs: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw time (top) and memory (bottom) against each axis, both logarithmic."""
    figure = Figure(figsize=(12, 7.5), layout='constrained')
    panels = figure.subplots(2, len(AXES), sharex='col', sharey='row')
    for row, (key, label) in zip(panels, dict(seconds='seconds', mib='MiB of tensors').items(), strict=True):
        for panel, (axis, values) in zip(row, AXES.items(), strict=True):
            for index, design in enumerate(dict.fromkeys(row['design'] for row in costs)):
                marker = next(mark for family, mark in MARKERS.items() if design.startswith(family))
                _, y = curve(costs, design, axis, key)
                panel.plot(values[: len(y)], y, marker=marker, markersize=4, color=COLORS(index), label=design)
            panel.set(xscale='log', yscale='log', xticks=values, xticklabels=values)
            panel.minorticks_off()
        row[0].set_ylabel(label)
    for panel, axis in zip(panels[-1], AXES, strict=True):
        panel.set_xlabel(LABELS[axis])
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc='outside lower center', ncols=4, fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--draw', action='store_true', help='measure nothing')
    file = DOCS / 'scaling.json'
    if not parser.parse_args().draw:
        torch.set_num_threads(1)
        costs = []
        for design, build in DESIGNS.items():
            model = build().eval()
            costs += [asdict(measure(design, model, **shape)) for shape in shapes()]
            print(f'{design}: {sum(cost["seconds"] for cost in costs if cost["design"] == design):.1f} s', flush=True)
        file.write_text(json.dumps(dict(machine=machine(), versions=versions(), costs=costs), indent=1) + '\n')
    costs = json.loads(file.read_text())['costs']
    draw(costs, DOCS / 'images' / 'scaling.png')
    print(table(costs))


if __name__ == '__main__':
    main()
