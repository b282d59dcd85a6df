"""Every block of docs/training.md trains, and does what it says."""

import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from config_families import family
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import Runner
from test_config_runs import reduce

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / 'docs/training.md').read_text(encoding='utf-8')
PRESETS = {text.split(':')[0]: text for text in re.findall(r'```python\n# (.*?)```', PAGE, flags=re.DOTALL)}


def trained(name: str, clips: Any, folder: Path) -> Runner:
    path = folder / 'preset.py'
    text = '# ' + PRESETS[name]
    base = re.search(r"_base_ = '(\w+).py'", text)
    assert base is not None
    path.write_text(text.replace(f"'{base[1]}.py'", repr(str(ROOT / 'configs' / f'{base[1]}.py'))))
    cfg = Config.fromfile(path)
    reduce(cfg, family(base[1]).reduction, clips, folder)
    cfg.experiment_name = name
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 2
    return runner


def test_every_preset_is_tested() -> None:
    here = Path(__file__).read_text(encoding='utf-8')
    assert len(PRESETS) == 8
    assert [name for name in PRESETS if f"trained('{name}'" not in here] == []


def test_ema(clips: Any, tmp_path: Path) -> None:
    trained('EMA', clips, tmp_path)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth')
    averaged, last = checkpoint['state_dict'], checkpoint['ema_state_dict']
    assert float(last['steps']) == 2
    name = 'cls_head.fc_cls.weight'
    assert not torch.equal(averaged[name], last[f'module.{name}'])


def test_layer_decay(clips: Any, tmp_path: Path) -> None:
    runner = trained('Layer-wise rate decay', clips, tmp_path)
    rates = sorted(
        {group['initial_lr'] for group in runner.optim_wrapper.optimizer.param_groups if 'depth' in group['name']}
    )
    assert len(rates) > 2
    assert [low / high for low, high in zip(rates, rates[1:], strict=False)] == pytest.approx([0.75] * (len(rates) - 1))


def test_linear_probe(clips: Any, tmp_path: Path) -> None:
    runner = trained('Linear probe', clips, tmp_path)
    names = {name for name, parameter in runner.model.named_parameters() if parameter.requires_grad}
    assert names == {
        f'{module}.{leaf}' for module in ('backbone.norm', 'cls_head.fc_cls') for leaf in ('weight', 'bias')
    }


def test_bf16(clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, which MMEngine's wrapper refuses but computes right on."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, 'cpu'))
    seen = []
    original = torch.nn.Linear.forward

    def forward(self: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
        y = original(self, x)
        seen.append(y.dtype)
        return y

    monkeypatch.setattr(torch.nn.Linear, 'forward', forward)
    runner = trained('bf16', clips, tmp_path)
    assert seen[0] is torch.bfloat16
    assert not runner.optim_wrapper.loss_scaler.is_enabled()
    assert {p.dtype for p in runner.model.parameters()} == {torch.float32}


def test_accumulation(clips: Any, tmp_path: Path) -> None:
    runner = trained('Gradient accumulation', clips, tmp_path)
    assert {float(state['step']) for state in runner.optim_wrapper.optimizer.state.values()} == {1.0}


def test_tensorboard(clips: Any, tmp_path: Path) -> None:
    pytest.importorskip('tensorboard')
    trained('TensorBoard', clips, tmp_path)
    assert list(tmp_path.glob('*/vis_data/events.out.tfevents.*'))


def test_wandb(clips: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    monkeypatch.setenv('WANDB_SILENT', 'true')
    runner = trained('Weights & Biases', clips, tmp_path)
    runner.visualizer.close()
    assert list(tmp_path.glob('*/vis_data/wandb/offline-run-*'))


def test_sync_bn(clips: Any, tmp_path: Path) -> None:
    """One process leaves BatchNorm as it is; Runner converts it for several."""
    runner = trained('SyncBN', clips, tmp_path)
    assert runner.cfg.sync_bn == 'torch'
    model = convert_sync_batchnorm(runner.model, 'torch')
    norms = [m for m in model.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert norms and all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
