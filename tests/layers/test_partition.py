"""Partitions: round trips, and which tokens share a group."""

from itertools import product

import pytest
import torch

from vidtx_mm.layers import HEIGHT, JOINT, SPACE, TIME, WIDTH, Window

GRID = (4, 5, 6)
AXES = {
    'joint': (JOINT, 'thw'),
    'space': (SPACE, 'hw'),
    'time': (TIME, 't'),
    'height': (HEIGHT, 'h'),
    'width': (WIDTH, 'w'),
}
WINDOWS = [
    # window, shift, grid
    ((2, 3, 3), (0, 0, 0), (4, 6, 6)),
    ((2, 3, 3), (1, 1, 1), (4, 6, 6)),
    ((2, 3, 3), (1, 1, 1), (5, 7, 8)),  # padded
    ((4, 3, 3), (2, 1, 1), (4, 3, 9)),  # time and height clipped, width shifted
    ((8, 7, 7), (4, 3, 3), (1, 2, 3)),  # one window
]


def coordinates(grid: tuple[int, int, int]) -> torch.Tensor:
    """(1, T, H, W, 3): each token is its own coordinate, counted from 1 because padding is 0."""
    return torch.stack(torch.meshgrid(*[torch.arange(1, n + 1) for n in grid], indexing='ij'), -1)[None]


@pytest.mark.parametrize('partition, free', AXES.values(), ids=AXES)
def test_axes(partition, free):
    x = torch.randn(2, *GRID, 7)
    tokens, layout = partition.split(x)
    torch.testing.assert_close(partition.merge(tokens, layout), x, rtol=0, atol=0)
    groups, _ = partition.split(coordinates(GRID))
    for axis, (name, size) in enumerate(zip('thw', GRID, strict=True)):
        assert all(len(group[:, axis].unique()) == (size if name in free else 1) for group in groups)


@pytest.mark.parametrize('size, shift, grid', WINDOWS)
def test_window_round_trip(size, shift, grid):
    x = torch.randn(2, *grid, 3)
    window = Window(size, shift)
    tokens, layout = window.split(x)
    torch.testing.assert_close(window.merge(tokens, layout), x, rtol=0, atol=0)
    assert sum(group.windows for group in layout.groups) == len(tokens)
    assert len(layout.groups) <= 8 and layout.groups[0].mask is None


@pytest.mark.parametrize('size, shift, grid', WINDOWS)
def test_window_neighbors(size, shift, grid):
    """Two tokens attend to each other exactly if the shifted tiling of the unrolled axis puts them into one tile.

    On an axis larger than its window the tiles end at shift, shift + window, ...; on a smaller one there is one tile.
    """

    def tile(position: int, axis: int) -> int:
        if grid[axis] <= size[axis]:
            return 0
        return (position + size[axis] - shift[axis]) // size[axis] if shift[axis] else position // size[axis]

    window = Window(size, shift)
    tokens, layout = window.split(coordinates(grid))
    seen = set()
    start = 0
    for windows, mask in layout.groups:
        for group in tokens[start : start + windows].tolist():
            for (i, a), (j, b) in product(enumerate(group), repeat=2):
                if 0 not in (*a, *b) and (mask is None or not mask[i, j]):
                    seen.add((tuple(a), tuple(b)))
        start += windows
    everything = [tuple(c) for c in coordinates(grid).flatten(0, 3).tolist()]
    expected = {
        (a, b)
        for a, b in product(everything, repeat=2)
        if all(tile(a[i] - 1, i) == tile(b[i] - 1, i) for i in range(3))
    }
    assert seen == expected


def test_window_checks_shift():
    with pytest.raises(ValueError, match='shift'):
        Window((2, 3, 3), (2, 0, 0))
