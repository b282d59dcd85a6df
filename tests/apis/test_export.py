"""Export: each family in ONNX Runtime and torch.export against eager, fixed and dynamic batch; what is refused."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vidtx_mm
from vidtx_mm.apis.export import Exported, export, load_module
from vidtx_mm.backbones import ImageUniFormer
from vidtx_mm.cli import main

VIT = dict(arch=dict(embed_dims=32, depth=2, num_heads=2))
UNIFORMER = dict(depths=(1, 1, 2, 1), embed_dims=(16, 32, 48, 64), head_dim=16, mlp_ratio=2.0)
MODELS = {
    'video_swin': ('swin3d_t_k400', dict(arch=dict(embed_dims=16, depths=(2, 2), num_heads=(1, 2)), out_indices=(1,))),
    'uniformer': ('uniformer_s_k400', dict(arch=UNIFORMER)),
    'timesformer': ('timesformer_base_k400', VIT),
    'vivit': ('vivit_b_fe_k400', VIT),
}
onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ('onnxruntime', 'onnxscript')),
    reason='no onnxruntime and onnxscript here: pip install ".[export]"',
)


def small(family: str) -> nn.Module:
    name, changes = MODELS[family]
    model = vidtx_mm.create_model(name, num_classes=5, **changes)
    nn.init.normal_(model.cls_head.fc_cls.weight)  # ViViT's starts at zero
    return model


@onnx
@pytest.mark.parametrize('family', MODELS)
def test_onnx_runtime_gives_the_scores_of_the_model(family: str, tmp_path: Path) -> None:
    """For any batch size, with windows that the clip fills and with ones that it does not."""
    torch.manual_seed(0)
    found = export(small(family), torch.randn(1, 3, 8, 64, 48), tmp_path / 'a.onnx', dynamic_batch=True)
    assert found.difference < 1e-4 and found.largest > 1e-3 and found.agrees


@onnx
def test_maps_of_an_image_backbone(tmp_path: Path) -> None:
    model = ImageUniFormer(arch=UNIFORMER, stage3='hybrid', window_size=3)
    found = export(model, torch.randn(1, 3, 64, 96), tmp_path / 'a.onnx')
    assert found.difference < 1e-4 and found.agrees


@pytest.mark.parametrize('family', MODELS)
def test_torch_export(family: str, tmp_path: Path) -> None:
    found = export(small(family), torch.randn(1, 3, 8, 64, 48), tmp_path / 'a.pt2', 'torch_export', dynamic_batch=True)
    assert found.difference < 1e-4 and found.agrees


@onnx
def test_the_command(demo_run: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    words = ['--config', str(demo_run.config), '--checkpoint', str(demo_run.checkpoint)]
    assert main(['export', str(tmp_path / 'a.onnx'), *words]) == 0
    assert 'largest difference' in capsys.readouterr().out and (tmp_path / 'a.onnx').stat().st_size > 10_000
    assert main(['export', str(tmp_path / 'a.pth'), *words]) == 2
    assert "a file of format 'onnx' ends in .onnx" in capsys.readouterr().err


def test_size_and_batch_of_the_input(demo_run: Any) -> None:
    model, example = load_module(demo_run.config, demo_run.checkpoint, (48, 32), batch=3)
    assert example.shape == (3, 3, model.preprocess.clip_len, 48, 32)


def test_a_difference_beyond_rounding_does_not_agree() -> None:
    assert Exported(Path('a'), 9e-5, 1.0, 1.0, 1.0).agrees
    assert not Exported(Path('a'), 2e-4, 1.0, 1.0, 1.0).agrees


def test_absent_onnx_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(ModuleNotFoundError, match='onnxruntime is not installed: pip install onnx onnxruntime'):
        export(nn.Identity(), torch.zeros(1, 2), tmp_path / 'a.onnx')
