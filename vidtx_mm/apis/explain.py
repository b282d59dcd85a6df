"""Explain predictions: HiResCAM for feature maps, attention rollout for token models."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from matplotlib.figure import Figure
from mmengine.dataset import pseudo_collate
from torch import Tensor, nn
from torch.nn import functional as F

from vidtx_mm.labels import suggest
from vidtx_mm.layers import Attention, Mlp
from vidtx_mm.reporting.figures import SHEET_FRAMES, filmstrip, save

from .predict import read
from .recognizer import Recognizer, feature_map
from .show import label_frames, write_video

FPS = 10
Hook = Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]


@dataclass(frozen=True)
class Explanation:
    """Heat over the frames that a model saw.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        heat: (T, H, W), from 0 to 1.
        index: the class it is about; rollout is the same for all classes.
        label: its name.
        score: its score.
        method: 'HiResCAM' or 'attention rollout'.
    """

    frames: np.ndarray
    heat: np.ndarray
    index: int
    label: str
    score: float
    method: str

    def overlays(self) -> np.ndarray:
        """Return the frames with the heat on them, (T, H, W, 3) uint8 RGB."""
        mixed = []
        for frame, heat in zip(self.frames, self.heat, strict=True):
            colors = cv2.applyColorMap((255 * heat).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
            strength = 0.7 * heat[..., None]
            mixed.append(((1 - strength) * frame + strength * colors).round().astype(np.uint8))
        return np.stack(mixed)


def explain(recognizer: Recognizer, video: str | Path, target: int | None = None) -> Explanation:
    """Show which parts of the first view of a video a prediction rests on.

    Backbones that return maps (Video Swin, UniFormer) get HiResCAM, a form of Grad-CAM (:func:`grad_cam`), the others
    (TimeSformer, ViViT) attention rollout (Abnar and Zuidema, arXiv 2005.00928).

    Args:
        recognizer: from :func:`vidtx_mm.apis.recognizer.load_recognizer`.
        video: a file.
        target: the index of the class; by default the predicted one.

    Raises:
        ValueError: if the video cannot be read.
    """
    sample = read(recognizer.pipeline('one'), video)
    if isinstance(sample, str):
        raise ValueError(f'{video}: {sample}')
    model: Any = recognizer.model
    clip = model.data_preprocessor(pseudo_collate([sample]), training=False)['inputs'][:, 0]  # (1, 3, T, H, W)
    scores = recognizer.score([sample])[0]
    index = int(scores.argmax()) if target is None else target
    with torch.no_grad():
        maps = feature_map(model.backbone(clip))
    heat = grad_cam(model, clip, index) if maps.ndim == 5 else rollout(model.backbone, clip)
    frames = sample['inputs'][0].permute(1, 2, 3, 0).clamp(0, 255).round().to(torch.uint8).numpy()
    heat = F.interpolate(heat[None, None], frames.shape[:3], mode='trilinear')[0, 0]
    return Explanation(
        frames,
        (heat / heat.max().clamp(min=1e-12)).cpu().numpy(),
        index,
        recognizer.classes[index],
        float(scores[index]),
        'HiResCAM' if maps.ndim == 5 else 'attention rollout',
    )


def find_class(recognizer: Recognizer, name: str) -> int:
    """Return the index of a class, given by name or as a number.

    Raises:
        ValueError: if there is no such class.
    """
    if name in recognizer.classes:
        return recognizer.classes.index(name)
    if name.isdigit() and int(name) < len(recognizer.classes):
        return int(name)
    raise ValueError(f'{name!r} is no class of {recognizer.cfg.filename}: {suggest(name, recognizer.classes)}')


def write_explanation(explanation: Explanation, video: str | Path, folder: Path) -> list[Path]:
    """Write the overlays as an .mp4 and, below the frames, as a sheet .png; return the files."""
    overlays, stem = explanation.overlays(), Path(video).stem
    both = np.concatenate([explanation.frames, overlays], axis=2)
    text = f'{explanation.label} ({explanation.score:.2f}), {explanation.method}'
    files = [folder / f'{stem}.mp4', folder / f'{stem}.png']
    write_video(label_frames(both, [text]), files[0], FPS)
    chosen = np.linspace(0, len(overlays) - 1, min(SHEET_FRAMES, len(overlays))).round().astype(int)
    sheet = np.concatenate([filmstrip(explanation.frames[chosen]), filmstrip(overlays[chosen])])
    figure = Figure(figsize=(12, 12 * sheet.shape[0] / sheet.shape[1] + 0.4), layout='constrained')
    axes = figure.add_subplot()
    axes.imshow(sheet, interpolation='nearest')
    axes.axis('off')
    axes.set_title(text, loc='left', fontsize=11)
    save(figure, files[1])
    return files


@torch.enable_grad()
def grad_cam(model: Any, clip: Tensor, index: int) -> Tensor:
    """Return the heat of a class score over the map (T, H, W) that enters the last stage.

    The last stage itself relates all positions, so that its maps say little about places. Gradients are taken position
    by position (HiResCAM, Draelos and Carin, arXiv 2011.08891) instead of averaged, since they differ between places
    below a stage of attention.
    """
    maps: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        maps.append(getattr(output, 'x', output))  # (1, T, H, W, C); light UniFormers pass a state with more

    stages = model.backbone.stage_modules()
    handle = _last_block(stages[max(model.backbone.out_indices[-1], 1)]).register_forward_hook(keep)
    try:
        score = model.cls_head(model.backbone(clip.requires_grad_()))[0, index]
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(score, maps)
    return (gradient * maps[0]).sum(-1)[0].clamp(min=0).detach()


def _last_block(stage: list[nn.Module]) -> nn.Module:
    """Return the last block of a stage, which has its blocks in one list."""
    blocks = next(part for module in stage for part in module.modules() if isinstance(part, nn.ModuleList))
    return blocks[-1]


@torch.enable_grad()
def rollout(backbone: nn.Module, clip: Tensor) -> Tensor:
    """Return the attention rollout from the output to the patches, (T, H, W).

    The rollout is the product over the blocks of (identity + attention, averaged over heads). It equals the gradient of
    the output with respect to the patches in a copy of the network whose forward is unchanged and whose gradient passes
    norms and projections as if they were the identity, takes attention weights as constants, and skips MLPs.
    """
    linear: Any = copy.deepcopy(backbone).eval()
    for name, module in linear.named_modules():
        if hook := _gradient_of(name.rpartition('.')[2], module):
            module.register_forward_hook(hook)
        if isinstance(module, Attention):
            setattr(module, 'first', partial(_first, module))  # noqa: B010  its shortcut calls no projection
    patches: list[Tensor] = []

    def start(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        patches.append(output.detach().requires_grad_())
        return patches[0]

    linear.patch_embed.register_forward_hook(start)
    (gradient,) = torch.autograd.grad(feature_map(linear(clip)).mean(), patches)
    height, width = gradient.shape[-3:-1]
    return gradient.mean(-1).reshape(-1, height, width).clamp(min=0)


def _first(attention: Attention, x: Tensor) -> Tensor:
    return attention(x)[..., :1, :]


def _gradient_of(name: str, module: nn.Module) -> Hook | None:
    """Return the hook that gives the output of a module its gradient in a rollout."""
    if isinstance(module, Mlp):
        return _constant
    if name == 'qkv':
        return _values
    square = isinstance(module, nn.Linear) and module.in_features == module.out_features
    return _identity if square or isinstance(module, nn.LayerNorm) else None


def _constant(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    return output.detach()


def _identity(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    return output.detach() + (inputs[0] - inputs[0].detach())


def _values(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    """Give q and k no gradient, and all channels of v that of the mean channel, which averages the heads."""
    through = (inputs[0] - inputs[0].detach()).mean(-1, keepdim=True).expand_as(inputs[0])
    still = torch.zeros_like(through)
    return output.detach() + torch.cat([still, still, through], -1)
