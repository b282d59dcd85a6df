"""The pictures of the attention designs show what the modules do."""

import pytest

from vidtx_mm.benchmark.attention_pictures import draw
from vidtx_mm.benchmark.receptive_field import DESIGNS, seen

GRID, QUERY = (4, 8, 8), (1, 2, 5)
TOKENS = {  # per frame, of the attentions in their order
    'timesformer_space': [[0, 64, 0, 0]],
    'timesformer_joint': [[64, 64, 64, 64]],
    'timesformer_divided': [[1, 1, 1, 1], [0, 64, 0, 0]],
    'timesformer_local_global': [[16, 16, 16, 16], [0, 16, 0, 16]],
    'timesformer_axial': [[1, 1, 1, 1], [0, 8, 0, 0], [0, 8, 0, 0]],
    'video_swin': [[16, 16, 0, 0], [0, 16, 16, 0]],
}


@pytest.mark.parametrize('design', DESIGNS)
def test_seen_tokens(design):
    fields = [seen(attend, GRID, QUERY) for attend in DESIGNS[design]().values()]
    assert [field.sum((1, 2)).tolist() for field in fields] == TOKENS[design]
    assert all(field[QUERY] for field in fields)


def test_draw(tmp_path):
    path = draw('timesformer_divided', tmp_path)
    assert path.name == 'attention_timesformer_divided.png' and path.read_bytes().startswith(b'\x89PNG')
