"""``compile`` of MMEngine's Runner: each family trains and tests with it as without it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from config_families import CONFIGS, family, load
from mmengine.runner import Runner
from test_config_runs import reduce

PATHS = {path.stem: path for path in CONFIGS}
SMALLER: dict[str, dict[str, Any]] = {  # tracing takes its time per block
    'swin3d_t_k400': {
        'model.backbone.arch': dict(_delete_=True, embed_dims=8, depths=[2], num_heads=[1]),
        'model.backbone.out_indices': (0,),
        'model.cls_head.in_channels': 8,
    },
    'uniformer_s_k400': {},
    'timesformer_base_k400': {},
    'vivit_b_k400': {'model.backbone.arch': dict(_delete_=True, embed_dims=8, depth=1, num_heads=2)},
}


def run(name: str, clips: Any, folder: Path, **settings: Any) -> tuple[list[float], dict[str, float]]:
    """Train two steps and test; return the losses and the metrics."""
    cfg = load(PATHS[name])
    reduce(cfg, {**family(name).reduction, **SMALLER[name]}, clips, folder)
    cfg.train_cfg.val_interval = 2  # no validation
    cfg.experiment_name = f'{name} {settings}'
    cfg.merge_from_dict(settings)
    torch.manual_seed(0)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return list(runner.message_hub.get_scalar('train/loss').data[0]), runner.test()


@pytest.mark.parametrize('name', SMALLER)
def test_trains_and_tests_compiled(name: str, clips: Any, tmp_path: Path) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = run(name, clips, tmp_path, compile=dict(backend='eager'))
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] > 0
    losses, metrics = run(name, clips, tmp_path)
    assert compiled[0] == pytest.approx(losses, rel=1e-5)
    assert compiled[1] == pytest.approx(metrics, rel=1e-4)
