"""Peak memory of this process above its idle state.

CPU: the kernel's high-water mark of the resident set. It is read from ``/proc/self/status`` where there is one, since
``ru_maxrss`` of a child starts from its parent's size, and reset after the weights are in, so that loading them does
not count. CUDA: the caching allocator's peak; its idle state is what is allocated before the model is built.
"""

import resource
import sys
from contextlib import suppress
from pathlib import Path

import torch

MiB = 1024**2
_STATUS = Path('/proc/self/status')
_CLEAR = Path('/proc/self/clear_refs')


def resident_peak() -> float:
    """High-water mark of this process in MiB."""
    if _STATUS.exists():
        return _status_field('VmHWM')
    unit = 1 if sys.platform == 'darwin' else 1024  # ru_maxrss is in bytes on macOS, in KB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MiB


def resident_now() -> float:
    """Resident set of this process in MiB; the high-water mark where the system does not tell."""
    return _status_field('VmRSS') if _STATUS.exists() else resident_peak()


def _status_field(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / MiB


def _load_libraries(device: str) -> None:
    """One training step of one product: PyTorch loads kernels and its optimizers' helpers at their first use."""
    weight = torch.ones(64, 64, device=device, requires_grad=True)
    (weight @ weight).sum().backward()
    torch.optim.AdamW([weight]).step()


class Memory:
    """Made after the imports and before the model: ``idle`` (MiB) is the state that the peak is counted from."""

    def __init__(self, device: str) -> None:
        self.cuda = device == 'cuda'
        _load_libraries(device)
        self.idle = torch.cuda.memory_allocated() / MiB if self.cuda else resident_now()

    def reset(self) -> None:
        """Forget the peak so far, where the system can."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif _CLEAR.exists():
            with suppress(OSError):  # a sandbox may forbid it; then loading the weights counts too
                _CLEAR.write_text('5')

    def peak(self) -> float:
        """Peak in MiB since the last reset, above the idle state."""
        return (torch.cuda.max_memory_allocated() / MiB if self.cuda else resident_peak()) - self.idle
