"""Draw receptive fields of a query, and curves of the costs of the schemes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attention_designs import DESIGNS
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

COLORS = ('#e8e8e8', '#f4a259', '#28536b')  # not seen, seen, the query
CURVES = {'macs': ('G multiply-adds', 1e9), 'seconds': ('seconds, one thread', 1.0), 'mib': ('MiB of tensors', 1.0)}


def draw(design: str, folder: Path) -> Path:
    """Draw one design: a row per attention, a column per frame."""
    views = DESIGNS[design]()
    frames = max(view.grid[0] for view in views.values())
    figure = Figure(figsize=(1.3 * frames + 1.4, 1.4 * len(views) + 0.2), layout='constrained')
    rows = figure.subplots(len(views), frames, squeeze=False)
    for frame, axes in enumerate(rows[0]):
        axes.set_title(f't = {frame}', fontsize=8)
    for row, (name, view) in zip(rows, views.items(), strict=True):
        cells = view.seen().int().numpy()
        cells[view.query] = 2
        for axes, image in zip(row, cells, strict=True):
            axes.pcolormesh(image, cmap=ListedColormap(COLORS), vmin=0, vmax=2, edgecolors='white', linewidth=1)
            axes.set(aspect='equal', xticks=[], yticks=[])
            axes.invert_yaxis()
            axes.set_frame_on(False)
        row[0].set_ylabel(name, fontsize=8)
    path = folder / f'attention_{design}.png'
    figure.savefig(path, dpi=100)
    return path


def plot(costs: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """Plot multiply-adds, time and memory against frames (top) and against the side of a frame (bottom)."""
    figure = Figure(figsize=(10, 6), layout='constrained')
    axes = figure.subplots(2, len(CURVES))
    for (top, bottom), (key, (label, unit)) in zip(axes.T, CURVES.items(), strict=True):
        for attention in dict.fromkeys(cost['attention'] for cost in costs):
            own = [cost for cost in costs if cost['attention'] == attention]
            for panel, by, fixed, value in ((top, 'frames', 'side', 14), (bottom, 'side', 'frames', 8)):
                points = sorted((cost[by], cost[key] / unit) for cost in own if cost[fixed] == value)
                panel.plot(*np.array(points).T, marker='o', markersize=3, label=attention)
        top.set(xlabel='frames of 14 x 14 tokens', title=label)
        bottom.set(xlabel='tokens along a side, 8 frames')
    axes[0, 0].legend(fontsize=8)
    path = folder / 'attention_costs.png'
    figure.savefig(path, dpi=100)
    return path
