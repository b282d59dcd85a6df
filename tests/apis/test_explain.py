"""Explanations: rollout by its definition, and models trained in the test that look at what decides."""

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
from torch.nn import functional as F

from vidtx_mm.apis.explain import explain, find_class, grad_cam, rollout, write_explanation
from vidtx_mm.apis.recognizer import load_recognizer
from vidtx_mm.backbones import VideoSwin, VideoTimeSformer, ViViT
from vidtx_mm.cli import main
from vidtx_mm.heads import VideoClsHead

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


class Model(nn.Module):
    """The parts of a recognizer that an explanation needs."""

    def __init__(self, backbone: nn.Module, head: VideoClsHead) -> None:
        super().__init__()
        self.backbone, self.cls_head = backbone, head

    def forward(self, x: Tensor) -> Tensor:
        return self.cls_head(self.backbone(x))


def spots(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise with a moving spot whose color is its class; the clips, the labels and the spots' masks."""
    clips = 0.3 * torch.randn(count, 3, 4, 48, 48)
    labels = torch.arange(count) % 2
    masks = torch.zeros(count, 4, 48, 48, dtype=torch.bool)
    for index in range(count):
        row, column = torch.randint(0, 36, (2,)).tolist()
        for frame in range(4):
            left = min(column + frame, 36)
            masks[index, frame, row : row + 12, left : left + 12] = True
        clips[index, 2 * int(labels[index])] += 3.0 * masks[index]
    return clips, labels, masks


def train(model: nn.Module, steps: int) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(steps):
        clips, labels, _ = spots(16)
        loss = F.cross_entropy(model(clips), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


def focus(heat: Tensor, mask: Tensor) -> float:
    """The share of heat on the spot over the spot's share of the clip."""
    heat = F.interpolate(heat[None, None], mask.shape, mode='trilinear')[0, 0]
    return float((heat * mask).sum() / heat.sum() / mask.float().mean())


def test_grad_cam_lights_up_what_decides() -> None:
    """The map is coarse, a cell is half a spot wide: heat on the spot is at least twice its share of the clip."""
    torch.manual_seed(2)
    arch = dict(embed_dims=16, depths=(1, 1), num_heads=(2, 4))
    backbone = VideoSwin(arch=arch, window_size=(2, 3, 3), out_indices=(1,), drop_path_rate=0.0)
    model = Model(backbone, VideoClsHead(2, 32, dropout_ratio=0.0))
    clips, labels, masks = spots(8)
    before = [focus(grad_cam(model, clips[i : i + 1], int(labels[i])), masks[i]) for i in range(8)]
    train(model, 60)
    with torch.no_grad():
        assert (model(clips).argmax(1) == labels).float().mean() >= 0.9
    after = [focus(grad_cam(model, clips[i : i + 1], int(labels[i])), masks[i]) for i in range(8)]
    assert np.mean(after) > 2 > np.nanmean(before), (before, after)


@pytest.fixture(scope='module')
def recognizer(demo_run: Any) -> Any:
    return load_recognizer(run=demo_run.work_dir)


def test_explanation_of_a_video(recognizer: Any, clips: Any, tmp_path: Path) -> None:
    video = clips.root / 'val_0.mp4'
    found = explain(recognizer, video)
    assert found.method == 'Grad-CAM' and found.label == recognizer.classes[found.index]
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
