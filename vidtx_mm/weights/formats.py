"""Open a checkpoint of any format as a flat dict of tensors, without running code in it."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError, listed
from .fetch import fetch, is_url
from .flax import read_msgpack, read_npz
from .tensors import plain_tensor

# Keys under which training code saves weights, in the order in which they are tried.
CONTAINERS = ('state_dict', 'model', 'model_state', 'module')
# Prefixes of wrapped models (DistributedDataParallel, torch.compile), stripped where every key has them.
WRAPPERS = ('module.', '_orig_mod.')
EXTENSIONS = {
    '.pth': 'PyTorch',
    '.pyth': 'PyTorch',
    '.pt': 'PyTorch',
    '.bin': 'PyTorch',
    '.safetensors': 'safetensors',
    '.npz': 'NumPy',
    '.msgpack': 'flax msgpack',
}


@dataclass(frozen=True)
class Opened:
    """A checkpoint as read: ``tensors`` by the file's own keys, the ``container`` they lay in, the file's ``name``.

    ``classes`` are the class names that MMEngine saved with it, empty where it saved none.
    """

    tensors: dict[str, Tensor]
    container: str
    name: str
    classes: tuple[str, ...] = ()


def open_checkpoint(path_or_dict: str | Path | Mapping[str, Any]) -> Opened:
    """Open a file, an address (http, https, or hf://owner/repo/file on the Hugging Face Hub) or a dict in memory.

    The format is recognized by the content: PyTorch (.pth, .pyth, .bin; always by ``weights_only``), safetensors, NumPy
    (.npz) and flax msgpack. Weights are found in the containers ``state_dict``, ``model``, ``model_state``, ``module``,
    at the top, or in flax's ``optimizer/target``. The prefix of DistributedDataParallel is stripped. Checksums are
    verified where the format has them (.pth, .npz).

    Raises:
        CheckpointError: if there is no such file, it is damaged, of another format than its extension says, has objects
            that are not plain data, no tensors, or tensors that are not dense arrays of numbers.
    """
    if isinstance(path_or_dict, Mapping):
        return _opened('a dict in memory', *_contained(path_or_dict, 'a dict in memory'))
    name = str(path_or_dict)
    try:
        path = fetch(name) if is_url(name) else Path(name).expanduser()
        kind = _kind(path)
    except (OSError, RuntimeError) as error:  # such as a name too long, no permission, no such home
        raise CheckpointError(f'{name} cannot be read ({_first_line(error)}): check the path') from error
    expected = EXTENSIONS.get(path.suffix)
    if expected is not None and expected != kind:
        suffixes = [suffix for suffix, other in EXTENSIONS.items() if other == kind]
        raise CheckpointError(
            f'{path} is named like a {expected} file, but its content is {kind}: rename it to *{suffixes[0]} if that '
            'is correct, or download it again'
        )
    try:
        read = READERS[kind](path)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise _refused(path, error) from error
    except Exception as error:  # whatever the readers raise on damaged bytes
        if 'Object arrays' in str(error):  # of np.load, which would have to unpickle them
            raise CheckpointError(f'{path} has arrays of Python objects: save arrays of numbers') from error
        raise CheckpointError(f'{path} is a damaged {kind} file ({_first_line(error)}): {_again(path)}') from error
    return _opened(str(path), *read)


def _read_torch(path: Path) -> tuple[Any, ...]:
    with path.open('rb') as file:
        zipped = file.read(2) == b'PK'  # else a pickle of torch before 1.6
    if zipped and (entry := _damaged_entry(path)):
        raise CheckpointError(f'{path} is a damaged PyTorch file (checksum of {entry}): {_again(path)}')
    with _inert_globals(), warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # about pickle protocols; errors are raised
        content = torch.load(path, map_location='cpu', weights_only=True)
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not a state dict: save model.state_dict()')
    return _contained(content, str(path))


def _damaged_entry(path: Path) -> str:
    """Return the first entry of a zip file whose content does not match its checksum, or ''.

    ``torch.load`` does not verify checksums. 0 means none (``torch.serialization.set_crc32_options(False)``).
    """
    with zipfile.ZipFile(path) as archive:  # from one thread: Python 3.12's mixes up positions between threads
        entries = (entry for entry in archive.infolist() if entry.CRC)
        return next((entry.filename for entry in entries if not _is_intact(archive, entry)), '')


def _is_intact(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(entry) as content:
            while content.read(2**20):
                pass
    except zipfile.BadZipFile:
        return False
    return True


def _read_safetensors(path: Path) -> tuple[Any, ...]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(f'{path}: reading it needs `pip install safetensors`') from error
    return _contained(load_file(path), str(path))


# The weights, the key of their container, and class names where the format has them.
READERS: dict[str, Callable[[Path], tuple[Any, ...]]] = {
    'PyTorch': _read_torch,
    'safetensors': _read_safetensors,
    'NumPy': read_npz,
    'flax msgpack': read_msgpack,
}


def _contained(content: Mapping[Any, Any], name: str) -> tuple[Mapping[Any, Any], str, tuple[str, ...]]:
    """Return the weights in ``content``, the key of their container, and the class names."""
    container = next((key for key in CONTAINERS if _is_state_dict(content.get(key))), 'raw')
    weights = content if container == 'raw' else content[container]
    others = [key for key, value in weights.items() if not isinstance(value, Tensor | np.ndarray)]
    if others or not weights:
        raise CheckpointError(
            f'{name} has no weights at the top or under {", ".join(map(repr, CONTAINERS))}: it holds '
            f'{listed(others) or "nothing"}. Give a state dict, or a dict with one under such a key'
        )
    meta = content.get('meta')
    data = meta.get('dataset_meta') if isinstance(meta, Mapping) else None
    classes = tuple(data.get('classes') or ()) if isinstance(data, Mapping) else ()
    return weights, container, classes


def _opened(name: str, weights: Mapping[Any, Any], container: str, classes: tuple[str, ...] = ()) -> Opened:
    """Check the tensors and strip the prefixes of wrappers."""
    try:
        if others := [key for key in weights if not isinstance(key, str)]:
            raise CheckpointError(f'the keys {listed(map(repr, others))} are not strings: save model.state_dict()')
        tensors = {key: plain_tensor(key, value) for key, value in weights.items()}
    except CheckpointError as error:
        raise CheckpointError(f'{name}: {error}') from error
    while prefix := next((p for p in WRAPPERS if tensors and all(key.startswith(p) for key in tensors)), ''):
        tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return Opened(tensors, container, name, classes)


def _is_state_dict(value: object) -> bool:
    return isinstance(value, Mapping) and any(isinstance(v, Tensor | np.ndarray) for v in value.values())


def _kind(path: Path) -> str:
    """Return the format, by the first bytes."""
    if not path.is_file():
        what = 'is a folder, not a checkpoint file' if path.is_dir() else 'does not exist'
        beside = listed(sorted(p.name for p in path.parent.glob('*.pt*'))) if path.parent.is_dir() else ''
        raise CheckpointError(f'{path} {what}' + (f'; beside it: {beside}' if beside else ': check the path'))
    with path.open('rb') as file:
        head = file.read(512)
    if not head:
        raise CheckpointError(f'{path} is empty: {_again(path)}')
    if head.startswith(b'PK'):
        return _zip_kind(path)
    if head[0] == 0x80 and head[1:2] in (b'\x02', b'\x03', b'\x04', b'\x05'):  # a pickle of that protocol
        return 'PyTorch'
    if head[8:9] == b'{':  # a JSON header after its length
        return 'safetensors'
    if 0x81 <= head[0] <= 0x8F or head[0] in (0xDE, 0xDF):  # a map
        return 'flax msgpack'
    if head[257:262] == b'ustar':
        raise CheckpointError(
            f'{path} is a tar archive: extract the checkpoint inside it. If it was saved by torch 0.1, which wrote tar '
            'files, save its state dict again with torch 1 or newer'
        )
    if head.startswith(b'version https://git-lfs'):
        raise CheckpointError(f'{path} is a Git LFS pointer, not the file itself: run `git lfs pull`')
    if head.lstrip()[:1] == b'<':
        raise CheckpointError(
            f'{path} is a web page, not a checkpoint: use the address of the file itself (a Dropbox link must end in '
            f'dl=1); {_again(path)}'
        )
    raise CheckpointError(
        f'{path} is not a checkpoint: it starts with {head[:8]!r}, unlike {", ".join(READERS)} files: {_again(path)}'
    )


def _zip_kind(path: Path) -> str:
    try:
        names = zipfile.ZipFile(path).namelist()
    except zipfile.BadZipFile as error:
        raise CheckpointError(f'{path} is cut short ({path.stat().st_size:,} bytes): {_again(path)}') from error
    if any('/code/' in name for name in names):
        raise CheckpointError(f'{path} is a TorchScript archive, not a checkpoint: save the model.state_dict() instead')
    if any(name.endswith('data.pkl') for name in names):
        return 'PyTorch'
    if names and all(name.endswith('.npy') for name in names):
        return 'NumPy'
    raise CheckpointError(f'{path} is a zip file of {listed(names, 3)}, not a checkpoint: give a file inside it')


def _again(path: Path) -> str:
    return f'delete {path} and download or copy it again'


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def _refused(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    found = re.search(r'GLOBAL ([\w.]+)', str(error))
    name = found.group(1) if found else ''
    what = f'the object {name}' if name else 'instructions that tensors do not need'
    return CheckpointError(
        f'{path} is not a plain checkpoint: besides tensors it has {what}. None of it was run. If you trust the '
        'file, save only its weights where it was written: torch.save(model.state_dict(), ...)'
    )


class _Inert:
    """Stand-in for a class or function in the logs of a checkpoint: takes any state, does nothing."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _inert(path: str) -> type:
    module, _, name = path.rpartition('.')
    return type(name, (_Inert,), {'__module__': module, '__qualname__': name})


# Objects in MMEngine's own checkpoints: history buffers of the message hub, which pickle their methods through getattr,
# over NumPy arrays; and NumPy scalars among the metrics. None is needed here, so stand-ins replace them.
LOGS = (
    'mmengine.logging.history_buffer.HistoryBuffer',
    'mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler',
    'builtins.getattr',
    'numpy.ndarray',
    'numpy.dtype',
    'numpy.core.multiarray._reconstruct',
    'numpy.core.multiarray.scalar',
    'numpy._core.multiarray._reconstruct',
    'numpy._core.multiarray.scalar',
    '_codecs.encode',
)
INERT = tuple(map(_inert, LOGS))


@contextmanager
def _inert_globals() -> Iterator[None]:
    """Allow exactly the names of ``LOGS`` in ``weights_only``, replaced by ``INERT``."""
    saved = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    torch.serialization.add_safe_globals(list(INERT))
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(saved)
