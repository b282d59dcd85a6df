"""Measure the peak memory of this process above its idle state.

On the CPU this is the peak resident set size, from ``/proc/self/status`` if available, since ``ru_maxrss`` of a child
process starts at the size of its parent. It is reset after the weights are loaded. On CUDA it is the peak of the
caching allocator.
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
    """Return the peak resident set size in MiB."""
    if _STATUS.exists():
        return _status_field('VmHWM')
    unit = 1 if sys.platform == 'darwin' else 1024  # ru_maxrss is in bytes on macOS, in KB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MiB


def resident_now() -> float:
    """Return the resident set size in MiB, or the peak on systems without ``/proc``."""
    return _status_field('VmRSS') if _STATUS.exists() else resident_peak()


def _status_field(name: str) -> float:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / MiB


def _load_libraries(device: str) -> None:
    """Run a tiny training step, since PyTorch loads kernels and optimizer helpers on first use."""
    weight = torch.ones(64, 64, device=device, requires_grad=True)
    (weight @ weight).sum().backward()
    torch.optim.AdamW([weight]).step()


class Memory:
    """Peak memory above ``idle`` (MiB), the state at construction: after the imports and before the model."""

    def __init__(self, device: str) -> None:
        self.cuda = torch.device(device).type == 'cuda'
        _load_libraries(device)
        self.idle = torch.cuda.memory_allocated() / MiB if self.cuda else resident_now()

    def reset(self) -> None:
        """Reset the peak if the system allows it."""
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        elif _CLEAR.exists():
            with suppress(OSError):  # forbidden in some sandboxes; the peak then includes the loading of weights
                _CLEAR.write_text('5')

    def peak(self) -> float:
        """Return the peak in MiB since the last reset, above the idle state."""
        return (torch.cuda.max_memory_allocated() / MiB if self.cuda else resident_peak()) - self.idle
