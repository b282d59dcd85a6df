"""Repairs of mmengine: no text of a checkpoint is executed, and resume takes the newest sound one."""

import functools
import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from vidtx_mm.repairs.environment import package_folder


def _runner(module: ModuleType) -> Any:
    """The Runner class that a module defines."""
    return vars(module).get('FlexibleRunner') or module.Runner


def executes_meta_config() -> bool:
    root = package_folder('mmengine')
    return root is not None and "['meta']['config']" in (root / 'runner/runner.py').read_text(encoding='utf-8')


@contextmanager
def drop_meta_config(module: ModuleType) -> Iterator[None]:
    yield
    runner = _runner(module)
    original = runner.call_hook

    @functools.wraps(original)
    def call_hook(self: Any, fn_name: str, **kwargs: Any) -> None:
        if fn_name == 'after_load_checkpoint':
            checkpoint = kwargs['checkpoint']
            meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
            if isinstance(meta, dict) and meta.pop('config', None) is not None:
                self.logger.warning("The checkpoint's meta['config'] is text that MMEngine would execute: ignored")
        original(self, fn_name, **kwargs)

    runner.call_hook = call_hook


def executes_weights_config() -> bool:
    root = package_folder('mmengine')
    return root is not None and 'Config.fromstring(cfg_string' in (root / 'infer/infer.py').read_text(encoding='utf-8')


@contextmanager
def require_config(module: ModuleType) -> Iterator[None]:
    yield
    inferencer = module.BaseInferencer
    original = inferencer._init_model

    @functools.wraps(original)
    def _init_model(self: Any, cfg: Any, weights: str | None, device: str = 'cpu') -> Any:
        if not cfg:
            raise ValueError(
                f'{weights}: without a config, MMEngine would execute the config text in this checkpoint. Give the '
                "config too: model='config.py'; for a file that you trust, set VIDTX_MM_NO_REPAIR=weights_config"
            )
        return original(self, cfg, weights, device)

    inferencer._init_model = _init_model


def resumes_without_checks() -> bool:
    return package_folder('mmengine') is not None


@contextmanager
def resume_from_sound(module: ModuleType) -> Iterator[None]:
    yield
    module.find_latest_checkpoint = newest_sound_checkpoint  # type: ignore[attr-defined]
    runner = _runner(module)
    original = runner.resume

    @functools.wraps(original)
    def resume(self: Any, filename: str, *args: Any, **kwargs: Any) -> None:
        if '://' not in filename:
            _on_first_process(lambda: _check(Path(filename).expanduser()))
        original(self, filename, *args, **kwargs)

    runner.resume = resume


def newest_sound_checkpoint(path: str) -> str | None:
    """Return the checkpoint of a work dir to resume from, or None where no run has left one.

    ``last_checkpoint`` names the newest one; checkpoints that were written after it or, when it is unsound, before it
    count too. Those passed over are logged with the reason.

    Raises:
        RuntimeError: if the work dir shows traces of a run, but none of its checkpoints is sound.
    """
    return _on_first_process(lambda: _newest_sound(Path(path)))


def fault(path: Path) -> str | None:
    """Say why a file cannot be resumed from: absent, cut short, damaged (by its checksums) or incomplete."""
    import torch

    if path.is_dir():  # of DeepSpeed or torch.distributed.checkpoint
        return None
    if not path.is_file():
        return 'does not exist'
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if (damaged := file.testzip()) is not None:
                    return f'is damaged: the checksum of {damaged} differs'
        content = torch.load(path, map_location='meta', weights_only=True)
    except Exception as error:  # whatever zipfile, zlib and torch raise on damaged bytes
        return f'is cut short or not a checkpoint of a run ({path.stat().st_size:,} bytes; {type(error).__name__})'
    content = content if isinstance(content, dict) else {}
    missing = [key for key in ('meta', 'state_dict', 'message_hub') if key not in content]
    missing += [f"meta['{key}']" for key in ('epoch', 'iter') if key not in content.get('meta', {})]
    if not missing:
        return None
    return f'holds no state of a run (no {", ".join(missing)}); to start from its weights use load_from without resume'


def _newest_sound(work_dir: Path) -> str | None:
    note = work_dir / 'last_checkpoint'
    written = note.read_text(encoding='utf-8').strip() if note.is_file() else ''
    candidates = _candidates(work_dir, Path(written) if written else None)
    passed = []
    for path in candidates:
        reason = fault(path)
        if reason is None:
            _log(f'Resuming from {path}', logging.INFO)
            return str(path)
        passed.append(f'{path} {reason}')
        _log(f'Not resumed from: {passed[-1]}')
    if passed:
        raise RuntimeError(
            f'None of the checkpoints in {work_dir} can be resumed from: {"; ".join(passed)}. Name another file by '
            '--resume FILE, or start anew without --resume'
        )
    if note.exists():
        raise RuntimeError(
            f'{note} is there, but no checkpoint: name the file by --resume FILE, or delete {note} to start anew'
        )
    _log(f'Nothing to resume from in {work_dir}: training starts at epoch 0')
    return None


def _candidates(work_dir: Path, last: Path | None) -> list[Path]:
    """Checkpoints in the order in which they are tried."""
    if last is not None and not last.exists() and (work_dir / last.name).exists():  # the work dir was moved
        last = work_dir / last.name
    patterns = {'epoch_*.pth', 'iter_*.pth'} | ({re.sub(r'\d+', '*', last.name)} if last else set())
    folders = {work_dir} | ({last.parent} if last else set())
    found = {path for folder in folders for pattern in patterns for path in folder.glob(pattern)} - {last}
    others = sorted(found, key=lambda path: (_number(path), path.stat().st_mtime), reverse=True)
    if last is None:
        return others
    since = last.stat().st_mtime if last.exists() else 0.0
    newer = [path for path in others if _number(path) > _number(last) and path.stat().st_mtime >= since]
    return [*newer, last, *(path for path in others if path not in newer)]


def _number(path: Path) -> int:
    """The epoch or iteration in a checkpoint's name."""
    return int((re.findall(r'\d+', path.stem) or [-1])[-1])


def _check(path: Path) -> None:
    reason = fault(path)
    if reason is None:
        return
    others = (other for other in _candidates(path.parent, None) if other != path)
    sound = next((other for other in others if fault(other) is None), None)
    remedy = f'the newest sound checkpoint beside it is {sound}' if sound else 'no sound checkpoint lies beside it'
    raise RuntimeError(f'Cannot resume: {path} {reason}; {remedy}')


def _on_first_process(function: Callable[[], str | None]) -> str | None:
    """Run a function on the first process; every process returns its result or raises its error."""
    from mmengine.dist import broadcast_object_list, get_rank

    result: list[Any] = [None]
    if get_rank() == 0:
        try:
            result = [function()]
        except RuntimeError as error:
            result = [error]
    broadcast_object_list(result)
    if isinstance(result[0], RuntimeError):
        raise result[0]
    return result[0]


def _log(message: str, level: int = logging.WARNING) -> None:
    from mmengine.logging import print_log

    print_log(message, logger='current', level=level)
