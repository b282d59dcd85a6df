"""A real recipe, reduced: it is killed within an epoch, resumed, and ends with the weights of the uninterrupted run."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from mmengine.config import Config
from mmengine.runner import Runner

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / 'tests/configs'))

from config_families import family  # noqa: E402
from test_config_runs import reduce  # noqa: E402


@pytest.mark.parametrize('name', ['uniformer_s_k400'])  # mixup, RandAugment, erasing, drop path, BatchNorm
def test_killed_recipe_ends_as_the_uninterrupted_one(name: str, clips: Any, tmp_path: Path) -> None:
    def run(folder: str, workers: int, **settings: Any) -> Runner:
        cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
        (tmp_path / folder).mkdir(exist_ok=True)
        reduce(cfg, family(name).reduction, clips, tmp_path / folder)
        cfg.train_cfg.max_epochs = 2
        cfg.train_dataloader.num_workers = workers
        cfg.default_hooks.checkpoint.update(interval=1, by_epoch=False)
        cfg.experiment_name = f'{folder} {settings}'
        cfg.update(settings)
        runner = Runner.from_cfg(cfg)
        runner.register_hook(toy.Curve())
        return runner

    run('whole', workers=0).train()
    part = run('parts', workers=2)
    part.register_hook(toy.Interrupt(3))
    with pytest.raises(toy.Interruption):
        part.train()
    run('parts', workers=0, resume=True).train()
    whole, parts = (toy.curve(tmp_path / folder) for folder in ('whole', 'parts'))
    assert len(whole) == 4 and parts == whole
    states = [torch.load(tmp_path / folder / 'iter_4.pth')['state_dict'] for folder in ('whole', 'parts')]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
