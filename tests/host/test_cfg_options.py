"""``--cfg-options`` on a variable of a config reaches every place that uses it."""

from pathlib import Path

import pytest
from mmengine.config import Config

import vidtx_mm  # noqa: F401

ROOT = Path(__file__).parents[2]
TEXT = """
lr = 1.0
width = 3
optimizer = dict(type='SGD', lr=lr, groups=[dict(lr=lr / 2, name='a'), dict(name='b')])
layers = [dict(width=width)] * width
final = dict(optimizer, momentum=0.9)
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / 'config.py'
    path.write_text(TEXT)
    return path


def test_recipe_follows_its_variables() -> None:
    cfg = Config.fromfile(ROOT / 'configs/swin3d_t_k400.py')
    cfg.merge_from_dict(dict(num_classes=7, lr=3e-4, epochs=9, batch_size=2, data_root='here'))
    assert cfg.model.cls_head.num_classes == 7
    assert {cfg[f'{part}_dataloader'].dataset.num_classes for part in ('train', 'val', 'test')} == {7}
    assert cfg.optim_wrapper.optimizer.lr == 3e-4
    assert cfg.train_cfg.max_epochs == 9
    assert max(scheduler.end for scheduler in cfg.param_scheduler) == 9
    assert cfg.train_dataloader.batch_size == 2
    assert cfg.train_dataloader.dataset.data_prefix.video == 'here'


def test_other_changes_stay_and_named_keys_win(config: Path) -> None:
    cfg = Config.fromfile(config)
    cfg.optimizer.type = 'AdamW'
    cfg.optimizer.groups[1].name = 'c'
    cfg.final.clip = 1
    cfg.merge_from_dict({'lr': 4.0, 'final.lr': 5.0})
    assert cfg.optimizer == dict(type='AdamW', lr=4.0, groups=[dict(lr=2.0, name='a'), dict(name='c')])
    assert (cfg.final.lr, cfg.final.momentum, cfg.final.clip) == (5.0, 0.9, 1)
    assert cfg.lr == 4.0


def test_length_of_a_list_follows(config: Path) -> None:
    cfg = Config.fromfile(config)
    cfg.merge_from_dict(dict(width=2))
    assert cfg['layers'] == [dict(width=2)] * 2
    assert cfg['layers'][0].width == 2


def test_variables_of_a_base(config: Path) -> None:
    child = config.with_name('child.py')
    child.write_text("_base_ = './config.py'\nrate = {{_base_.lr}}\noptimizer = dict(nesterov=True)")
    cfg = Config.fromfile(child)
    cfg.merge_from_dict(dict(lr=4.0))
    assert (cfg.optimizer.lr, cfg.optimizer.nesterov, cfg.rate) == (4.0, True, 4.0)


def test_a_value_that_the_config_cannot_use(config: Path) -> None:
    with pytest.raises(ValueError, match=r"config.py cannot be read with width='wide' \(can't multiply.*give values"):
        Config.fromfile(config).merge_from_dict(dict(width='wide'))


def test_configs_without_a_file() -> None:
    cfg = Config(dict(lr=1.0, optimizer=dict(lr=1.0)))
    cfg.merge_from_dict(dict(lr=2.0, new=3))
    assert (cfg.lr, cfg.optimizer.lr, cfg.new) == (2.0, 1.0, 3)
