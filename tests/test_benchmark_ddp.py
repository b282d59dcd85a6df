"""vidtx benchmark-ddp: the steps of one process and of a group, without timings."""

from functools import partial
from pathlib import Path

import pytest
from mmengine.config import Config

from vidtx_mm.benchmark.ddp import measure, table, wrap
from vidtx_mm.benchmark.pairs import Side, build_backbone
from vidtx_mm.benchmark.worker import Settings
from vidtx_mm.cli import main


def test_one_process_and_two() -> None:
    build = partial(build_backbone, 'ViViT', arch=dict(embed_dims=8, depth=1, num_heads=2), img_size=16, num_frames=4)
    row = measure('tiny', Side(build), Settings('train', 1, 4, 16, threads=1), processes=2, runs=2, warmup=0)
    assert row['one'] > 0 and row['several'] > 0
    assert 0 < row['efficiency']['least'] <= row['efficiency']['median'] <= row['efficiency']['most']
    assert table([row]).splitlines()[2].startswith('| tiny | 2 |')


def test_the_group_is_wrapped_as_in_the_recipes() -> None:
    recipe = Config.fromfile(Path(__file__).parents[1] / 'configs/swin3d_t_k400.py').model_wrapper_cfg
    assert wrap.keywords == {key: value for key, value in recipe.items() if key != 'type'}


def test_unknown_pairs_list_the_valid_ones(capsys: pytest.CaptureFixture) -> None:
    assert main(['benchmark-ddp', 'swin9d']) == 2
    assert 'swin3d_t' in capsys.readouterr().err
