"""Base of the backbones: arch tables, output contract, freezing, activation checkpointing."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from ..checks import Positive, Positives, Ratio, check, choose

# Values that the dict of an arch may give a key, by the type of the value in the named archs.
ARCH_HINTS: dict[type, Any] = {bool: bool, int: Positive, float: Ratio, tuple: Positives}


def triple(value: Sequence[int]) -> tuple[int, int, int]:
    """Return a (t, h, w) size as a tuple."""
    t, h, w = value
    return t, h, w


def pair(value: Sequence[int] | int) -> tuple[int, int]:
    """Return a (height, width) size, or one number for both, as a tuple."""
    height, width = (value, value) if isinstance(value, int) else value
    return height, width


def resolve_arch(
    arch: str | Mapping[str, Any], archs: Mapping[str, Mapping[str, Any]], optional: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the sizes of a named arch, or those of a dict with values of the same types.

    ``optional`` holds example values of keys that a dict may leave out.
    """
    if isinstance(arch, str):
        return dict(archs[choose('arch', arch, archs)])
    examples = {key: value for named in (optional or {}, *archs.values()) for key, value in named.items()}
    expected = set(examples)
    required = set.intersection(*(set(a) for a in archs.values()))
    unknown, missing = set(arch) - expected, required - set(arch)
    if unknown or missing:
        raise ValueError(
            f'arch={dict(arch)}: unknown keys {sorted(unknown)}, missing keys {sorted(missing)}; a dict needs '
            f'{sorted(required)}' + (f' and may have {sorted(expected - required)}' if expected - required else '')
        )
    for key, value in arch.items():
        check(f'arch: {key}', value, ARCH_HINTS[type(examples[key])])
    return dict(arch)


def initialize(module: nn.Module) -> None:
    """Initialize a module as transformers do; for ``Module.apply``.

    Weights of linear layers are drawn from a truncated normal distribution of std 0.02, biases are zero. A block with
    branches that start without effect sets them in its own ``init_branches``.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif callable(start := getattr(module, 'init_branches', None)):
        start()


@contextmanager
def _frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics of BatchNorm while activation checkpointing repeats a forward pass."""
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    saved = [(m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = norm.num_batches_tracked.clone()  # type: ignore[union-attr]
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, saved, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


Features = TypeVar('Features')
TOKEN_POOLS = ('cls', 'avg', 'none')  # outputs of the ViT-like families: class token, mean of the patches, map


class Backbone(BaseModule):
    """Base of the backbones.

    A subclass calls :meth:`_set_outputs` with the channels and the (t, h, w) strides of all its stages before it builds
    its modules and :meth:`_finish` after, returns ``self._pack(outputs)`` from ``forward``, lists its modules per stage
    in :meth:`stage_modules` and runs its blocks through :meth:`_run`. Everything that ``vidtx_mm.weights`` reads from a
    backbone is declared here; the attributes after ``out_strides`` exist in the families that they are about.

    Attributes:
        family: key of the weight rules for the checkpoints of this backbone.
        ndim: 3 for clips, 2 for images.
        out_channels: channels of each output.
        out_strides: (t, h, w) stride of each output.
        attention: attention design, by the name of the argument.
        order: order of the attentions over space and time.
        depth: blocks of the encoder, in ViViT's model 2 of the spatial one.
        temporal_depth: blocks of the temporal encoder of ViViT's model 2.
        num_heads: attention heads.
        head_dim: channels of a head.
        window_size: (t, h, w) of an attention window in tokens.
        tubelet_size: (t, h, w) of a tubelet in frames and pixels.
        grid: tokens per axis that the position embedding is made for, (t, h, w) or (h, w).
        table_grid: (t, h, w) tokens that have a row of their own in ViViT's position embedding.
        prefix: rows of the position embedding before those of the grid, 1 with a class token.
        pos_embed: position embedding, (1, prefix + tokens, C).
    """

    family = ''
    ndim = 3
    out_channels: tuple[int, ...]
    out_strides: tuple[tuple[int, int, int], ...]
    attention: str
    order: str
    depth: int
    temporal_depth: int
    num_heads: int
    head_dim: int
    window_size: tuple[int, int, int]
    tubelet_size: tuple[int, int, int]
    grid: tuple[int, ...]
    table_grid: tuple[int, int, int]
    prefix: int
    pos_embed: nn.Parameter

    def __init__(
        self,
        frozen_stages: int = -1,
        with_cp: bool | Sequence[int] = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.frozen_stages = frozen_stages
        self.with_cp = with_cp

    def _set_outputs(
        self,
        out_indices: Sequence[int] | int,
        channels: Sequence[int],
        strides: Sequence[tuple[int, int, int]],
    ) -> None:
        stages = len(channels)
        indices = (out_indices,) if isinstance(out_indices, int) else tuple(out_indices)
        if not indices or any(not -stages <= i < stages for i in indices):
            raise ValueError(f'out_indices={out_indices}: there are {stages} stages, choose from 0 to {stages - 1}')
        self.out_indices = tuple(i % stages for i in indices)
        if list(self.out_indices) != sorted(set(self.out_indices)):
            raise ValueError(f'out_indices={out_indices}: give increasing indices without repeats')
        if not -1 <= self.frozen_stages <= stages:
            raise ValueError(
                f'frozen_stages={self.frozen_stages}: choose -1 (none), 0 (the tokenizer) to {stages} (all stages)'
            )
        if not isinstance(self.with_cp, bool) and len(self.with_cp) != stages:
            raise ValueError(
                f'with_cp={self.with_cp}: give True, False or one number of blocks for each of the {stages} stages'
            )
        self.out_channels = tuple(channels[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i] for i in self.out_indices)

    def _finish(self) -> None:
        self.apply(initialize)
        self._freeze()

    def _freeze(self) -> None:
        for modules in self.stage_modules()[: self.frozen_stages + 1]:
            for module in modules:
                module.eval().requires_grad_(False)
        if self.frozen_stages >= 0:
            for embedding in self.embeddings():
                embedding.requires_grad_(False)

    def _pack(self, outputs: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _run(self, block: nn.Module, x: Features, stage: int, index: int, *context: Any) -> Features:
        """Run block ``index`` of ``stage``, with activation checkpointing where ``with_cp`` asks for it.

        ``context`` holds further arguments of the block.
        """
        kept = self.with_cp if isinstance(self.with_cp, bool) else index < self.with_cp[stage]
        if not (kept and torch.is_grad_enabled()):
            return block(x, *context)

        def contexts() -> tuple[AbstractContextManager, AbstractContextManager]:
            return nullcontext(), _frozen_statistics(block)

        return checkpoint(block, x, *context, use_reentrant=False, context_fn=contexts)

    def stage_modules(self) -> list[list[nn.Module]]:
        """Return the modules that ``frozen_stages`` freezes: entry 0 the tokenizer, entry n stage n."""
        raise NotImplementedError

    def embeddings(self) -> list[nn.Parameter]:
        """Return the parameters that are frozen with the tokenizer without being in it, such as position embeddings."""
        return []

    def no_weight_decay(self) -> set[str]:
        """Return the names of parameters without weight decay besides norms and biases."""
        return set()

    def layer_depth(self, name: str) -> tuple[int, int]:
        """Return the depth of a parameter, 0 for the tokenizer, and the number of depths, for layer-wise decay."""
        raise NotImplementedError

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Refuse a state dict with none of the backbone's keys, which loaders of the host report as a mere warning."""
        names = [prefix + name for name, _ in self.named_parameters()]
        if not any(name in state_dict for name in names):
            raise RuntimeError(
                f'{type(self).__name__}: none of its {len(names)} keys ({names[0]}, ...) is in the state dict, which '
                'is empty or of another format: the weights would stay random. Run `vidtx convert SRC DST --config '
                "CONFIG` on the checkpoint, load it by vidtx_mm.weights.load_pretrained, or add dict(type='vidtx_mm."
                "WeightInflationHook') to custom_hooks. To load a head alone, call load_state_dict of the head"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def train(self, mode: bool = True) -> 'Backbone':
        super().train(mode)
        self._freeze()
        return self
