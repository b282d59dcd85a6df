"""Export to ONNX and to PyTorch's own format, checked against the model."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from vidtx_mm.checks import choose
from vidtx_mm.weights import load_pretrained

from .configs import find_config
from .models import create_model
from .zoo import find_checkpoint

SUFFIXES = {'onnx': '.onnx', 'torch_export': '.pt2'}
TOLERANCE = 1e-4  # of the largest output
RUNS = 5
LARGEST_BATCH = 1024


@dataclass(frozen=True)
class Exported:
    """An exported file beside the model.

    Attributes:
        difference: largest absolute difference of an output on random input.
        largest: largest absolute value of an output.
        seconds: median time of one call of the file, in ONNX Runtime or PyTorch.
        eager_seconds: the same of the model.
    """

    path: Path
    difference: float
    largest: float
    seconds: float
    eager_seconds: float

    @property
    def agrees(self) -> bool:
        """Return whether the difference is rounding."""
        return self.difference <= TOLERANCE * max(1.0, self.largest)

    def __str__(self) -> str:
        ratio = self.seconds / self.eager_seconds
        return (
            f'{self.path}: largest difference {self.difference:.1e} of outputs up to {self.largest:.3g}; '
            f'{self.seconds * 1000:.1f} ms a call, eager {self.eager_seconds * 1000:.1f} ms (ratio {ratio:.2f})'
        )


def load_module(
    config: str | Path, checkpoint: str | Path | None = None, size: tuple[int, int] | None = None, batch: int = 1
) -> tuple[nn.Module, Tensor]:
    """Build what is exported, and an input for it.

    Of a recognizer this is backbone and classifier, (B, 3, T, H, W) -> scores; of a detector, pose model or segmentor
    the backbone, (B, 3, H, W) -> maps.

    Args:
        config: name or file of a config.
        checkpoint: a file, a web address or a weights id; by default the id that is the config's name.
        size: (height, width) of the input; by default that of the config's test crop, or 224 x 224.
        batch: clips or images of the input.
    """
    file = find_config(config)
    weights = find_checkpoint(checkpoint or file.stem)
    cfg = Config.fromfile(file)
    if 'cls_head' in cfg.model:
        model = create_model(file, weights)
        height, width = size or model.preprocess.size or (224, 224)
        return model, torch.randn(batch, 3, model.preprocess.clip_len, height, width)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmengine')):
        backbone = MODELS.build({**cfg.model.backbone, 'init_cfg': None})
    load_pretrained(backbone, weights)
    return backbone.eval(), torch.randn(batch, 3, *(size or (224, 224)))


def export(
    model: nn.Module, example: Tensor, path: Path, format: str = 'onnx', dynamic_batch: bool = False
) -> Exported:
    """Export a model and compare the file with it on random input.

    Args:
        model: takes one tensor and returns one tensor or a tuple of them.
        example: an input; its size is the exported one.
        path: the file to write.
        format: 'onnx', or 'torch_export' for a program of ``torch.export``.
        dynamic_batch: let the file take any batch size.

    Raises:
        ValueError: if the format is unknown or the ending of ``path`` is another.
        ModuleNotFoundError: if ONNX is not installed.
    """
    suffix = SUFFIXES[choose('format', format, list(SUFFIXES))]
    if path.suffix != suffix:
        raise ValueError(f'{path}: a file of format {format!r} ends in {suffix}')
    path.parent.mkdir(parents=True, exist_ok=True)
    model = model.eval()
    if dynamic_batch and len(example) == 1:
        example = example.repeat(2, *[1] * (example.ndim - 1))  # torch.export takes a batch of one for a constant
    shapes = {0: torch.export.Dim('batch', min=1, max=LARGEST_BATCH)} if dynamic_batch else None
    run = WRITERS[format](model, example, path, shapes)
    sizes = [len(example), *([1, len(example) + 1] if dynamic_batch else [])]
    difference = largest = 0.0
    for batch in sizes:
        x = torch.randn(batch, *example.shape[1:])
        for ours, theirs in zip(outputs(model, x), run(x), strict=True):
            difference = max(difference, float((ours - theirs).abs().max()))
            largest = max(largest, float(ours.abs().max()))
    return Exported(path, difference, largest, _median(lambda: run(example)), _median(lambda: outputs(model, example)))


@torch.no_grad()
def outputs(model: Any, x: Tensor) -> tuple[Tensor, ...]:
    """Return the outputs of a model as a tuple."""
    found = model(x)
    return found if isinstance(found, tuple) else (found,)


def _median(call: Callable[[], Any]) -> float:
    call()
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def write_onnx(model: nn.Module, x: Tensor, path: Path, shapes: Any) -> Callable[[Tensor], tuple[Tensor, ...]]:
    """Write a model to ``path`` and return the call of the file in ONNX Runtime, with as many threads as PyTorch."""
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  the exporter needs it
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{error.name} is not installed: pip install onnx onnxruntime onnxscript (the extra 'export')",
            name=error.name,
        ) from error
    with torch.no_grad():
        program = torch.onnx.export(
            model, (x,), dynamo=True, dynamic_shapes=(shapes,) if shapes else None, input_names=['input'], verbose=False
        )
    assert program is not None
    program.save(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    (name,) = (entry.name for entry in session.get_inputs())

    def run(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(np.asarray(found)) for found in session.run(None, {name: x.numpy()}))

    return run


def _write_program(model: nn.Module, x: Tensor, path: Path, shapes: Any) -> Callable[[Tensor], tuple[Tensor, ...]]:
    with torch.no_grad():
        program = torch.export.export(model, (x,), dynamic_shapes=(shapes,) if shapes else None)
    torch.export.save(program, path)
    module = torch.export.load(path).module()
    return lambda x: outputs(module, x)


WRITERS = {'onnx': write_onnx, 'torch_export': _write_program}
