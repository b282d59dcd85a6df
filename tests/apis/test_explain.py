"""Explanations: rollout and class activation by their definitions, and what the trained demo looks at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from helpers import randomized
from matplotlib.image import imread
from torch import Tensor, nn

from vidtx_mm.apis.explain import explain, find_class, grad_cam, rollout, write_explanation
from vidtx_mm.apis.recognizer import load_recognizer
from vidtx_mm.backbones import VideoTimeSformer, ViViT
from vidtx_mm.cli import main
from vidtx_mm.heads import VideoClsHead

ROOT = Path(__file__).parents[2]
DEMO = ROOT / 'work_dirs/demo/train'
VIT = dict(arch=dict(embed_dims=16, depth=2, num_heads=2), num_frames=4, img_size=32)
DESIGNS: dict[str, Callable[[], nn.Module]] = {
    'joint': lambda: ViViT(**VIT),
    'factorized encoder': lambda: ViViT(**VIT, attention='factorized_encoder', temporal_depth=1),
    'factorized self-attention': lambda: ViViT(**VIT, attention='factorized_self_attention', pool='avg'),
    'factorized dot-product': lambda: ViViT(**VIT, attention='factorized_dot_product', pool='avg'),
    'divided': lambda: VideoTimeSformer(**VIT),
    'space': lambda: VideoTimeSformer(**VIT, attention='space'),
    'local_global': lambda: VideoTimeSformer(**VIT, attention='local_global'),
}


def test_rollout_by_its_definition() -> None:
    """The class token's row of the product of (identity + mean attention of the heads) over the blocks."""
    model = randomized(ViViT(**VIT)).eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    inputs: list[Tensor] = []
    handles = [
        block.attn.qkv.register_forward_hook(lambda module, args, output: inputs.append(output))
        for block in model.blocks
    ]
    model.pool = 'none'  # the last block computes all tokens
    with torch.no_grad():
        model(clip)
    for handle in handles:
        handle.remove()
    model.pool = 'cls'
    product = torch.eye(inputs[0].shape[1])
    for qkv in inputs:
        q, k, _ = qkv.unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1).mean(1)[0]
        product = (torch.eye(len(product)) + attention) @ product
    found = rollout(model, clip).flatten()
    torch.testing.assert_close(found / found.sum(), product[0, 1:] / product[0, 1:].sum())


@pytest.mark.parametrize('design', DESIGNS)
def test_rollout_conserves_what_attention_passes_on(design: str) -> None:
    """Every design gives one value per patch, none negative; the output is unchanged by the hooks."""
    model = randomized(DESIGNS[design]()).eval()
    clip = torch.randn(1, 3, 4, 32, 32)
    with torch.no_grad():
        before = model(clip)
    found = rollout(model, clip)
    assert found.shape[1:] == (2, 2) and found.min() >= 0 and found.max() > 0
    with torch.no_grad():
        assert torch.equal(model(clip), before)


class Stages(nn.Module):
    """A backbone of two stages without attention, whose last one looks at one place alone."""

    out_indices = (1,)

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.ModuleList([nn.Linear(3, 2)])
        self.second = nn.ModuleList([nn.Linear(2, 2)])

    def stage_modules(self) -> list[list[nn.Module]]:
        return [[], [self.first], [self.second]]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first[0](x.movedim(1, -1))  # (B, T, H, W, C)
        x = self.second[0](x[:, 1:2, 2:3, 3:4])
        return x.movedim(-1, 1)


def test_grad_cam_is_gradient_times_map_before_the_last_stage() -> None:
    model = nn.Module()
    model.backbone, model.cls_head = Stages(), VideoClsHead(3, 2, dropout_ratio=0.0, init_std=1.0)
    model.eval()
    clip = torch.randn(1, 3, 4, 4, 4)
    for index in range(3):
        found = grad_cam(model, clip.clone(), index)
        weights = model.cls_head.fc_cls.weight[index] @ model.backbone.second[0].weight
        value = weights @ model.backbone.first[0](clip[0, :, 1, 2, 3])
        expected = torch.zeros(4, 4, 4)
        expected[1, 2, 3] = value.clamp(min=0)
        torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not list(DEMO.glob('best_*.pth')), reason='no trained demo here: make demo')
def test_the_demo_model_looks_at_the_moving_shape() -> None:
    """Where the shape is not cut by the border, its box has at least 3 times its share of the heat."""
    recognizer = load_recognizer(run=DEMO, device='cpu')
    data = ROOT / 'data/shapes'
    ratios = []
    for line in (data / 'test.txt').read_text().splitlines()[:32]:
        found = explain(recognizer, data / line.rsplit(maxsplit=1)[0])
        bright = found.frames.max(-1).astype(float)
        shape = bright > (bright.min() + bright.max()) / 2
        for heat, mask in zip(found.heat, shape, strict=True):
            rows, columns = np.nonzero(mask)
            if len(rows) and min(rows.min(), columns.min()) > 0 and max(rows.max(), columns.max()) < len(mask) - 1:
                box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
                ratios.append(heat[box].mean() / max(heat.mean(), 1e-9))
    assert len(ratios) > 50 and np.mean(ratios) >= 3, np.mean(ratios)


@pytest.fixture(scope='module')
def recognizer(demo_run: Any) -> Any:
    return load_recognizer(run=demo_run.work_dir)


def test_explanation_of_a_video(recognizer: Any, clips: Any, tmp_path: Path) -> None:
    video = clips.root / 'val_0.mp4'
    found = explain(recognizer, video)
    assert found.method == 'HiResCAM' and found.label == recognizer.classes[found.index]
    assert found.heat.shape == found.frames.shape[:3] and found.frames.dtype == np.uint8
    assert found.heat.min() >= 0 and found.heat.max() == pytest.approx(1)
    assert explain(recognizer, video, target=2).index == 2
    movie, sheet = write_explanation(found, video, tmp_path)
    with av.open(str(movie)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(found.frames)
    assert imread(sheet)[..., :3].std() > 0.02


def test_the_command(demo_run: Any, clips: Any, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bad = tmp_path / 'bad.mp4'
    bad.write_bytes(b'no video')
    words = ['--run', str(demo_run.work_dir), '--out', str(tmp_path / 'out'), '--target', 'left']
    assert main(['explain', str(clips.root / 'val_0.mp4'), str(bad), *words]) == 1
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'val_0.mp4', 'val_0.png'}
    assert 'bad.mp4' in capsys.readouterr().err


def test_unknown_classes_are_refused(recognizer: Any) -> None:
    assert find_class(recognizer, '3') == 3
    with pytest.raises(ValueError, match="'lefft' is no class of .*: did you mean left"):
        find_class(recognizer, 'lefft')
