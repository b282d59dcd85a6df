"""Checks of our backbones on a device, on small models of all families and designs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..layers.kernels import biased_attention, softmax_attention
from ..layers.kernels.softmax_attention import MAX_GROUPS
from .pairs import build_backbone
from .worker import perturb

Build = Callable[..., nn.Module]


class CheckError(AssertionError):
    """A check found something; the message says what."""


class Skipped(Exception):
    """A check does not apply; the message says why."""


def _build(name: str, **kwargs: object) -> Build:
    return partial(build_backbone, name, drop_path_rate=0.0, **kwargs)


_SWIN = dict(arch=dict(embed_dims=32, depths=(2, 2), num_heads=(1, 2)), window_size=(2, 7, 7), out_indices=(1,))
_UNIFORMER = dict(arch=dict(depths=(1, 1, 2, 1), embed_dims=(32, 32, 64, 64), head_dim=32, mlp_ratio=2.0))
_VIVIT = dict(arch=dict(embed_dims=64, depth=2, num_heads=2), img_size=64, num_frames=8)
_TIMESFORMER = dict(arch=dict(embed_dims=64, depth=2, num_heads=2), img_size=64, num_frames=8)
CLIP, IMAGE = (8, 64, 64), (96, 128)
# Heads have 32 channels, which the fused kernels of GPUs take; windows of 98 tokens need padded rows of their bias.
MODELS: dict[str, tuple[Build, tuple[int, ...]]] = {
    'swin3d': (_build('VideoSwin', **_SWIN), CLIP),
    'swin3d split': (_build('VideoSwin', attention='split', **_SWIN), CLIP),
    'swin3d factorized': (_build('VideoSwin', attention='factorized', **_SWIN), CLIP),
    'uniformer': (_build('VideoUniFormer', **_UNIFORMER), CLIP),
    'uniformer split': (_build('VideoUniFormer', attention='split', **_UNIFORMER), CLIP),
    'uniformer image': (
        _build('ImageUniFormer', stage3='hybrid', window_size=3, out_indices=(3,), **_UNIFORMER),
        IMAGE,
    ),
    'uniformer light': (_build('VideoUniFormerLight', **_UNIFORMER), CLIP),
    'vivit': (_build('ViViT', **_VIVIT), CLIP),
    'vivit encoder': (_build('ViViT', attention='factorized_encoder', temporal_depth=1, **_VIVIT), CLIP),
    'vivit self-attention': (_build('ViViT', attention='factorized_self_attention', pool='avg', **_VIVIT), CLIP),
    'vivit dot-product': (_build('ViViT', attention='factorized_dot_product', pool='avg', **_VIVIT), CLIP),
    'timesformer': (_build('VideoTimeSformer', **_TIMESFORMER), CLIP),
    'timesformer joint': (_build('VideoTimeSformer', attention='joint', **_TIMESFORMER), CLIP),
    'timesformer local-global': (_build('VideoTimeSformer', attention='local_global', **_TIMESFORMER), CLIP),
    'timesformer axial': (_build('VideoTimeSformer', attention='axial', **_TIMESFORMER), CLIP),
}
FAMILIES = ('swin3d', 'uniformer', 'vivit', 'timesformer')
# Largest relative errors of outputs and of gradients against float64.
LIMITS = {
    torch.float32: (1e-4, 1e-3),
    torch.bfloat16: (5e-2, 2e-1),
    torch.float16: (1e-2, 5e-2),
}
SCALE = 1024.0  # of the loss, so that fp16 gradients do not vanish


def pass_through(model: nn.Module, clips: Tensor) -> tuple[Tensor, Tensor]:
    """Run forward and backward; return the output and all gradients in one vector."""
    model.zero_grad()
    output = model(clips)
    wide = output.to(torch.promote_types(output.dtype, torch.float32))
    (SCALE * wide.square().mean()).backward()
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.parameters()]
    return output.detach(), torch.cat([g.flatten() for g in gradients]) / SCALE


def error(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference divided by that of ``expected``."""
    found, expected = found.double().cpu(), expected.double().cpu()
    return float((found - expected).norm() / expected.norm())


def require_close(name: str, found: Tensor, expected: Tensor, limit: float) -> str:
    """Return the relative error in words.

    Raises:
        CheckError: above ``limit``, or where ``found`` is not finite.
    """
    if not torch.isfinite(found).all():
        raise CheckError(f'{name} not finite')
    relative = error(found, expected)
    if not relative <= limit:
        raise CheckError(f'{name}: relative error {relative:.1e}, limit {limit:.0e}')
    return f'{name} {relative:.1e}'


class DeviceChecks:
    """The checks of one small model on a device.

    The model is built and run on the CPU before it moves, so that a tensor left behind fails. ``expected`` is computed
    there in float64.
    """

    def __init__(self, name: str, device: str) -> None:
        self.device = device
        self.build, size = MODELS[name]
        torch.manual_seed(0)
        model = self.build()
        perturb(model)
        self.clips = torch.randn(2, 3, *size)
        self.expected = pass_through(deepcopy(model).double(), self.clips.double())
        self.state = deepcopy(model.state_dict())
        with torch.no_grad():
            model(self.clips)
        self.moved = model.to(device)

    def model(self, **kwargs: object) -> nn.Module:
        """Return a fresh copy on the device, in training mode."""
        model = self.build(**kwargs)
        model.load_state_dict(self.state)
        return model.to(self.device)

    def single(self) -> str:
        """Float32 after a move to the device."""
        self.moved.load_state_dict(self.state)
        with _exact_convolutions():
            return self._against_float64(self.moved, torch.float32)

    def autocast(self, dtype: torch.dtype) -> str:
        """Outputs and gradients under autocast are finite and near those of float64."""
        with torch.autocast(self.device, dtype=dtype):
            return self._against_float64(self.model(), dtype)

    def _against_float64(self, model: nn.Module, dtype: torch.dtype) -> str:
        found = pass_through(model, self.clips.to(self.device))
        names = zip(('output', 'gradients'), found, self.expected, LIMITS[dtype], strict=True)
        return ', '.join(require_close(*values) for values in names)

    def checkpointing(self) -> str:
        """Activation checkpointing changes neither outputs nor gradients, nor BatchNorm's statistics."""
        plain, kept = self.model(), self.model(with_cp=True)
        clips = self.clips.to(self.device)
        expected, found = pass_through(plain, clips), pass_through(kept, clips)
        names = zip(('output', 'gradients'), found, expected, strict=True)
        words = [require_close(*values, 1e-5) for values in names]
        for (name, buffer), other in zip(kept.named_buffers(), plain.buffers(), strict=True):
            if buffer.is_floating_point():
                require_close(name, buffer, other, 1e-5)
        return ', '.join(words)

    def one_by_one(self) -> str:
        """A batch gives the outputs of its clips alone."""
        model, clips = self.model().eval(), self.clips.to(self.device)
        with torch.no_grad(), _exact_convolutions():
            alone = torch.cat([model(clip[None]) for clip in clips])
            return require_close('output', model(clips), alone, 1e-4)

    def no_wait(self) -> str:
        """Nothing in a forward and backward pass makes the CPU wait for the GPU."""
        if self.device != 'cuda':
            raise Skipped('for GPUs')
        model, clips = self.model(), self.clips.to(self.device)
        pass_through(model, clips)  # libraries may wait when they are loaded
        with waits_are_errors():
            pass_through(model, clips)
        return 'no synchronization'

    def compiled(self, backend: str) -> str:
        """``torch.compile`` without a graph break gives the outputs and gradients of eager mode."""
        model, clips = self.model(), self.clips.to(self.device)
        expected = pass_through(model, clips)
        torch._dynamo.reset()
        compiled = cast(nn.Module, torch.compile(self.model(), fullgraph=True, backend=backend))
        found = pass_through(compiled, clips)
        names = zip(('output', 'gradients'), found, expected, strict=True)
        return ', '.join(require_close(*values, 1e-2) for values in names)  # TF32 may be chosen for either


@contextmanager
def waits_are_errors() -> Iterator[None]:
    """Raise ``CheckError`` where the CPU waits for the GPU."""
    torch.cuda.set_sync_debug_mode('error')
    try:
        yield
    except RuntimeError as found:
        raise CheckError(str(found).splitlines()[0]) from found
    finally:
        torch.cuda.set_sync_debug_mode('default')


def _exact_convolutions() -> AbstractContextManager:
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False) if torch.cuda.is_available() else nullcontext()


CHECKS: dict[str, Callable[[DeviceChecks], str]] = {
    'fp32': DeviceChecks.single,
    'bf16': lambda checks: checks.autocast(torch.bfloat16),
    'fp16': lambda checks: checks.autocast(torch.float16),
    'with_cp': DeviceChecks.checkpointing,
    'one by one': DeviceChecks.one_by_one,
    'no wait': DeviceChecks.no_wait,
}


def many_groups(device: str) -> str:
    """Attention of more groups than a kernel of CUDA takes, in bf16, is that of the CPU in float32."""
    shape = (MAX_GROUPS.get(device, 600) + 100, 1, 4, 8)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(shape, generator=generator) for _ in range(3)] + [torch.randn(1, 4, 4, generator=generator)]
    words = []
    for name, attend in (
        ('plain', lambda q, k, v, bias: softmax_attention(q, k, v) + 0 * bias.sum()),
        ('biased', lambda q, k, v, bias: biased_attention(q, k, v, bias, [(len(q), None)])),
    ):
        results = []
        for on, dtype in (('cpu', torch.float32), (device, torch.bfloat16)):
            values = [value.bfloat16().to(on, dtype).requires_grad_() for value in inputs]
            out = attend(*values)
            results.append((out.detach(), *torch.autograd.grad(out.sin().sum(), values)))
        flat = [torch.cat([y.flatten().float().cpu() for y in result]) for result in results]
        words.append(require_close(name, flat[1], flat[0], 5e-2))
    return ', '.join(words)


def views_in_chunks(device: str) -> str:
    """A test that computes as many views at a time as fit in memory gives the features of all at once."""
    from ..recognizer import VideoRecognizer

    torch.manual_seed(0)
    parts: dict[str, Any] = dict(
        backbone=dict(type='vidtx_mm.VideoSwin', **_SWIN),
        cls_head=dict(type='vidtx_mm.VideoClsHead', in_channels=64, num_classes=5),
        data_preprocessor=dict(type='mmaction.ActionDataPreprocessor'),
    )
    model = VideoRecognizer(**parts).to(device).eval()
    views = torch.randn(2, 3, 3, *CLIP, device=device)
    with torch.no_grad(), _exact_convolutions():
        features, _ = model.extract_feat(views, test_mode=True)
        return require_close('features', features, model.backbone(views.flatten(0, 1)), 1e-4)
