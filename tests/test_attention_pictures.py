"""The receptive fields of docs/attention_schemes.md are those of the papers."""

from collections.abc import Callable
from itertools import product

import pytest
from attention_designs import DESIGNS
from attention_pictures import draw
from receptive_field import Grid, seen

Sees = Callable[[Grid, Grid, Grid], bool]  # whether a query sees a key in a grid of T x H x W


def everything(query: Grid, key: Grid, grid: Grid) -> bool:
    return True


def agree_in(*axes: int) -> Sees:
    return lambda query, key, grid: all(query[axis] == key[axis] for axis in axes)


def within(reach: int) -> Sees:
    return lambda query, key, grid: all(abs(q - k) <= reach for q, k in zip(query, key, strict=True))


def window(size: Grid, shift: Grid = (0, 0, 0)) -> Sees:
    def of(token: Grid) -> list[int]:
        return [(place - s) // length for place, length, s in zip(token, size, shift, strict=True)]

    return lambda query, key, grid: of(query) == of(key)


def half_of_the_frame(query: Grid, key: Grid, grid: Grid) -> bool:
    """H/2 x W/2 positions around the query, one more after it than before it, shifted inside at the border."""
    starts = [min(max(q - n // 4 + 1, 0), n - n // 2) for q, n in zip(query[1:], grid[1:], strict=True)]
    return all(0 <= k - start < n // 2 for k, start, n in zip(key[1:], starts, grid[1:], strict=True))


def stride_of_two(query: Grid, key: Grid, grid: Grid) -> bool:
    return all((q - k) % 2 == 0 for q, k in zip(query, key, strict=True))


FRAME, PLACE = agree_in(0), agree_in(1, 2)
PAPERS: dict[str, dict[str, Sees]] = {
    'video_swin': {'windows': window((2, 4, 4)), 'shifted windows': window((2, 4, 4), (1, 2, 2))},
    'uniformer_joint': {'local': within(2), 'global': everything},
    'uniformer_split': {'local': within(2), 't_attn': PLACE, 'attn': FRAME},
    'uniformer_hybrid': {'local': within(2), 'windows': window((1, 4, 4)), 'global': everything},
    'vivit_joint': {'attn': everything},
    'vivit_factorized_encoder': {'spatial encoder': FRAME, 'temporal encoder': everything},
    'vivit_factorized_self_attention': {'attn': FRAME, 'temporal_attn': PLACE},
    'vivit_factorized_dot_product': {'first half of heads': PLACE, 'second half of heads': FRAME},
    'timesformer_space': {'attn': FRAME},
    'timesformer_joint': {'attn': everything},
    'timesformer_divided': {'temporal_attn': PLACE, 'attn': FRAME},
    'timesformer_local_global': {'local_attn': half_of_the_frame, 'attn': stride_of_two},
    'timesformer_axial': {'temporal_attn': PLACE, 'width_attn': agree_in(0, 1), 'attn': agree_in(0, 2)},
}


@pytest.mark.parametrize('design', DESIGNS)
def test_receptive_field(design):
    """Row by row, the tokens that the paper names: for the query of the picture and for both corners."""
    views = DESIGNS[design]()
    assert list(views) == list(PAPERS[design])
    for name, (attend, grid) in views.items():
        last = tuple(n - 1 for n in grid)
        for query in {views[name].query, (0, 0, 0), last}:
            keys = {key for key in product(*map(range, grid)) if PAPERS[design][name](query, key, grid)}
            assert {tuple(key) for key in seen(attend, grid, query).nonzero().tolist()} == keys, (name, query)


@pytest.mark.parametrize('design', DESIGNS)
def test_rows_of_a_picture_differ(design):
    """A neighborhood larger than the drawn clip would look like another attention."""
    views = DESIGNS[design]().values()
    fields = [(view.grid, view.seen().flatten().tolist()) for view in views]
    assert all(field not in fields[:i] for i, field in enumerate(fields))


@pytest.mark.parametrize('design', ['timesformer_divided', 'vivit_factorized_encoder', 'uniformer_hybrid'])
def test_draw(design, tmp_path):
    path = draw(design, tmp_path)
    assert path.name == f'attention_{design}.png' and path.read_bytes().startswith(b'\x89PNG')
