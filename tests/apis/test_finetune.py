"""Fine-tuning: the config it writes, its presets, and what stops it; tests/test_docs_finetune.py runs all of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.config import Config

import vidtx_mm
from vidtx_mm.apis import finetune, recipe
from vidtx_mm.apis.config_text import replace_header, replace_values, variables
from vidtx_mm.apis.finetune import Plan, plan_finetune, write_plan
from vidtx_mm.cli import main
from vidtx_mm.demo.shapes import CLASSES, ShapesSpec, make_clip, write_mp4
from vidtx_mm.weights import CheckpointError


@pytest.fixture(scope='session')
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of generated clips: three classes of four clips."""
    root = tmp_path_factory.mktemp('shapes')
    rng, spec = np.random.default_rng(0), ShapesSpec()
    for name in ('left', 'right', 'growing'):
        (root / name).mkdir()
        for index in range(4):
            write_mp4(make_clip(CLASSES.index(name), spec, rng), root / name / f'{index}.mp4', spec.fps)
    return root


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A checkpoint of the demonstration's model with eight classes."""
    torch.save(vidtx_mm.create_model('swin3d_shapes').state_dict(), tmp_path / 'start.pth')
    return tmp_path / 'start.pth'


def load(plan: Plan) -> Config:
    write_plan(plan)
    return Config.fromfile(plan.config)


def test_the_config_is_the_recipe_with_other_variables(shapes: Path, weights: Path, tmp_path: Path) -> None:
    plan = plan_finetune(shapes, 'swin3d_shapes', weights, batch=4, work_dir=tmp_path / 'w', seed=3)
    cfg = load(plan)
    assert cfg.classes == str(tmp_path / 'w/data/classes.txt')
    assert Path(cfg.classes).read_text().split() == ['growing', 'left', 'right']
    assert cfg.model.cls_head.num_classes == cfg.train_dataloader.dataset.num_classes == 3
    assert cfg.train_dataloader.batch_size == 4 and cfg.randomness.seed == 3
    assert cfg.optim_wrapper.optimizer.lr == cfg.lr == pytest.approx(1e-3 * 4 / 16)
    assert (cfg.train_cfg.max_epochs, cfg.load_from, cfg.model.backbone.init_cfg) == (30, str(weights), None)
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay == 0.75
    assert [hook.type for hook in cfg.custom_hooks][-2:] == ['vidtx_mm.WeightInflationHook', 'EMAHook']
    assert len((tmp_path / 'w/data/train.txt').read_text().splitlines()) == 9
    assert all('Flip' not in step.type for step in cfg.train_dataloader.dataset.pipeline)  # left is not right
    assert cfg.param_scheduler[0].end == 3 and cfg.param_scheduler[1].T_max == 27
    head = plan.text.split('model = dict')[0]
    assert "lr = 0.00025  # the recipe's 0.001 for 16 clips, scaled to 4" in head and 'mim train mmaction' in head


def test_presets(shapes: Path, weights: Path, tmp_path: Path) -> None:
    linear = load(plan_finetune(shapes, 'swin3d_shapes', weights, preset='linear', work_dir=tmp_path / 'linear'))
    assert linear.model.backbone.frozen_stages == 2 and linear.lr == pytest.approx(1e-2 * 9 / 16, rel=1e-2)
    full = load(plan_finetune(shapes, 'swin3d_shapes', weights, preset='full', work_dir=tmp_path / 'full'))
    assert full.epochs == 24 and full.param_scheduler[0].type == 'OneCycleLR'
    scratch = load(plan_finetune(shapes, 'swin3d_shapes', from_scratch=True, work_dir=tmp_path / 'scratch'))
    assert scratch.load_from is None and scratch.model.backbone.init_cfg.type == 'Xavier' and scratch.epochs == 24
    short = load(plan_finetune(shapes, 'swin3d_shapes', from_scratch=True, epochs=1, work_dir=tmp_path / 'short'))
    assert short.param_scheduler[0].end == 0.5 and short.train_cfg.max_epochs == 1


@pytest.mark.parametrize(
    'name', ['swin3d_t_k400', 'uniformer_s_k400', 'timesformer_base_k400', 'vivit_b_fe_k400', 'uniformer_xxs_k400']
)
@pytest.mark.parametrize('preset', recipe.PRESETS)
def test_published_recipes(
    name: str, preset: str, shapes: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rate follows the batch, blending is the recipe's with 'full' alone, and the backbone stays with 'linear'."""
    monkeypatch.setattr(recipe, 'num_stages', lambda cfg: 4)
    before = Config.fromfile(finetune.find_config(name))
    cfg = load(plan_finetune(shapes, name, weights, batch=2, devices=2, preset=preset, work_dir=tmp_path / 'w'))
    step = 4 * before.get('num_repeats', 1)
    assert cfg.optim_wrapper.accumulative_counts == 1 and cfg.clips_per_step == step and cfg.gpus == 2
    assert cfg.lr == pytest.approx(
        before.lr * step / before.clips_per_step * (10 if preset == 'linear' else 1), rel=1e-2
    )
    blending = before.model.data_preprocessor.get('blending')
    assert bool(cfg.model.data_preprocessor.get('blending')) == (bool(blending) and preset == 'full')
    assert cfg.model.backbone.get('frozen_stages', -1) == (4 if preset == 'linear' else -1)
    assert cfg.test_dataloader.dataset.ann_file == str(tmp_path / 'w/data/val.txt')


def test_stages_of_a_backbone() -> None:
    assert recipe.num_stages(Config.fromfile(finetune.find_config('vivit_shapes'))) == 6


def test_dry_run_trains_nothing(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetune, 'run_logged', lambda *args: pytest.fail('trained'))
    options = f'--config swin3d_shapes --from-scratch --dry-run --work-dir {tmp_path / "w"}'.split()
    assert main(['finetune', str(shapes), *options]) == 0
    assert (tmp_path / 'w/config/w.py').is_file()


def test_an_interrupt_says_how_to_go_on(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(finetune, 'run_logged', stop)
    options = f'--config swin3d_shapes --from-scratch --work-dir {tmp_path / "w"}'.split()
    assert main(['finetune', str(shapes), *options]) == 130
    wanted = f'stopped; go on with `vidtx train {tmp_path / "w/config/w.py"} --work-dir {tmp_path / "w"} --resume`'
    assert wanted in capsys.readouterr().err


def test_without_network_the_address_and_the_way_out_are_named(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError('no route to host')

    monkeypatch.setattr(torch.hub, 'download_url_to_file', refuse)
    with pytest.raises(CheckpointError, match='(?s)https://.*swin_tiny.*kinetics400_1k.pth.*--from-scratch'):
        plan_finetune(shapes, 'swin3d_t_k400')


def test_a_full_disk(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The message names the file, and no half of it stays."""
    write = Path.write_text

    def fill(self: Path, text: str, **kwargs: Any) -> int:
        if self.name == 'val.txt':
            write(self, text[:3])
            raise OSError(28, 'No space left on device')
        return write(self, text, **kwargs)

    monkeypatch.setattr(Path, 'write_text', fill)
    options = f'--config swin3d_shapes --from-scratch --work-dir {tmp_path / "w"}'.split()
    assert main(['finetune', str(shapes), *options]) == 2
    file = tmp_path / 'w/data/val.txt'
    assert f'{file}: No space left on device' in capsys.readouterr().err and not file.exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(config='swin3d_shape', from_scratch=True), 'did you mean swin3d_shapes'),
        (dict(config='swin3d_shapes'), 'no published weights to start from: give --checkpoint FILE, or --from-scratch'),
        (dict(config='swin3d_shapes', checkpoint='gone.pth'), 'gone.pth: no such checkpoint'),
        (dict(config='swin3d_shapes', checkpoint='a.pth', from_scratch=True), 'leave out a checkpoint'),
        (dict(config='swin3d_shapes', preset='linear', from_scratch=True), "leave out preset='linear'"),
        (dict(config='swin3d_shapes', preset='tiny'), "preset='tiny': choose one of 'small', 'full', 'linear'"),
        (dict(config='vivit_l_fe_epic', from_scratch=True), 'no classifier with num_classes'),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str, shapes: Path) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        plan_finetune(shapes, **options)


def test_a_config_without_the_variables(shapes: Path, demo_run: Any) -> None:
    """One that MMEngine wrote into a work dir has its values spelt out below."""
    text = demo_run.config.read_text()
    copy = demo_run.work_dir.parent / 'other.py'
    copy.write_text(text.replace('\nepochs = ', '\nrounds = '))
    with pytest.raises((ValueError, AttributeError), match='epochs'):
        plan_finetune(shapes, copy, from_scratch=True)


def test_text_of_a_config() -> None:
    text = '"""Old."""\n\na = 1  # one\nb = (\n    2,\n)  # two\nc = a\n'
    assert (
        replace_values(text, dict(a=5, b='x'), dict(b='new')) == '"""Old."""\n\na = 5  # one\nb = \'x\'  # new\nc = a\n'
    )
    assert variables(text) == {'a', 'b', 'c'}
    assert replace_header(text, ['New.']).startswith('"""New.\n"""\n\na = 1')
    with pytest.raises(ValueError, match='no variable d'):
        replace_values(text, dict(d=1), {})
