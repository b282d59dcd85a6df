"""Child process of one side: build the model, load weights, and run on command.

A child serves one side in one mode, so that its peak memory belongs to that mode alone.
"""

import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..checks import choose
from .memory import Memory
from .pairs import Pair
from .timing import timed

MODES = ('forward', 'train')
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """Shared settings of both sides. ``threads=None`` keeps PyTorch's default; ``precision`` bf16 is autocast."""

    mode: str = 'forward'
    batch: int = 1
    frames: int = 32
    size: int = 224
    device: str = 'cpu'
    precision: str = 'fp32'
    compile: bool = False
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        choose('mode', self.mode, MODES)
        choose('precision', self.precision, DTYPES)
        if self.device == 'cuda' and not torch.cuda.is_available():
            raise ValueError(f"device='cuda', but PyTorch {torch.__version__} finds no GPU; use device='cpu'")


@dataclass(frozen=True)
class Ready:
    """A side is built; ``weights`` names their origin, or the error of loading them."""

    weights: str


@dataclass(frozen=True)
class Finished:
    """Memory in MiB, and in forward mode the output to compare as a float32 array."""

    idle_mib: float
    peak_mib: float
    output: Any


@dataclass(frozen=True)
class Failed:
    """The side failed."""

    error: str


def serve(connection: Connection, pair: Pair, role: str, settings: Settings, weights: str) -> None:
    """Serve the parent over ``connection`` until it sends 'finish'. ``role`` is 'ours' or 'reference'."""
    try:
        _serve(connection, pair, role, settings, Path(weights))
    except EOFError:  # the parent gave up after an error of the other side
        return
    except Exception as error:  # the parent reports it
        connection.send(Failed(f'{type(error).__name__}: {error}'))


def _serve(connection: Connection, pair: Pair, role: str, settings: Settings, weights: Path) -> None:
    side = getattr(pair, role)
    if role == 'reference':
        warnings.simplefilter('ignore')  # warnings of the reference's code are not useful here
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    for module in side.imports:
        import_module(module)
    memory = Memory(settings.device)
    torch.manual_seed(settings.seed)
    model = side.build()
    if role == 'reference':
        perturb(model)
        torch.save(model.state_dict(), weights)
        note = 'own'
    else:
        note = take_weights(model, weights, pair.load) if weights.exists() else 'own'
    model.to(settings.device)
    model.train(settings.mode == 'train')
    connection.send(Ready(note))

    step = Step(side, model, settings)
    memory.reset()
    output: Tensor | None = None
    while connection.recv() == 'run':
        seconds, output = step()
        connection.send(seconds)
    peak = memory.peak()
    compared = output if settings.mode == 'forward' else None
    result = None if compared is None else compared.float().cpu().numpy()
    connection.send(Finished(idle_mib=memory.idle, peak_mib=peak, output=result))


def perturb(model: nn.Module) -> None:
    """Move all parameters and running statistics away from their initial values.

    Zero biases, unit scales and zero-initialized branches would hide a mapping error.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        for module in model.modules():
            if isinstance(module, _BatchNorm) and module.running_mean is not None and module.running_var is not None:
                module.running_mean.add_(torch.randn_like(module.running_mean), alpha=0.1)
                module.running_var.mul_(1 + 0.1 * torch.rand_like(module.running_var))


def take_weights(model: nn.Module, file: Path, load: dict[str, Any]) -> str:
    """Load the state dict of the reference into our model; return its origin, or the error if it does not load."""
    from vidtx_mm.weights import load_pretrained

    try:
        load_pretrained(model, str(file), **load)
    except Exception as error:
        return f'not mapped ({type(error).__name__}: {str(error).splitlines()[0]})'
    return "the reference's"


class Step:
    """One measured run: the forward pass without gradients, or forward, backward and AdamW step."""

    def __init__(self, side: Any, model: nn.Module, settings: Settings) -> None:
        self.side, self.settings = side, settings
        self.model = torch.compile(model) if settings.compile else model
        generator = torch.Generator().manual_seed(settings.seed)
        shape = (settings.batch, 3, settings.frames, settings.size, settings.size)
        self.clips = torch.randn(shape, generator=generator).to(settings.device)
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6) if settings.mode == 'train' else None

    def __call__(self) -> tuple[float, Tensor]:
        """Return the seconds of one forward pass or step and the output to compare."""
        return timed(self.run, self.settings.device)

    def run(self) -> Tensor:
        """Run once and return the output to compare."""
        return self._train() if self.optimizer else self._forward()

    def _forward(self) -> Tensor:
        with torch.no_grad(), self._autocast():
            return self.side.output(self.side.call(self.model, self.clips))

    def _train(self) -> Tensor:
        assert self.optimizer is not None
        self.optimizer.zero_grad()
        with self._autocast():
            output = self.side.output(self.side.call(self.model, self.clips))
        output.float().pow(2).mean().backward()
        self.optimizer.step()
        return output.detach()

    def _autocast(self) -> AbstractContextManager:
        dtype = DTYPES[self.settings.precision]
        return nullcontext() if dtype == torch.float32 else torch.autocast(self.settings.device, dtype=dtype)
