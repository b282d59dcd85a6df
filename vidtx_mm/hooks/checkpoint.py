"""``default_hooks=dict(checkpoint=dict(type='vidtx_mm.SafeCheckpointHook'))``: no write can cost a checkpoint."""

import copy
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from inspect import signature
from pathlib import Path
from typing import Annotated, Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from ..checks import OneOf, Rule
from ..registry import HOOKS

ATOMIC = 'vidtx_mm.atomic'


class CheckpointWriteError(OSError):
    """A checkpoint could not be written; the message names the cause and the space needed."""


@register_backend(ATOMIC)
class AtomicBackend(LocalBackend):
    """Local files that are there whole or not at all."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write to a temporary file in the same folder, flush it to the disk, and rename it."""
        path = Path(filepath)
        temporary = path.with_name(f'.{path.name}.writing')
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise CheckpointWriteError(_explanation(path, len(obj), error)) from error
        with suppress(OSError):  # no such call for folders on Windows
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)


def _explanation(path: Path, size: int, error: OSError) -> str:
    disk = next(parent for parent in path.parents if parent.is_dir())
    free = shutil.disk_usage(disk).free
    return (
        f'{path} was not written ({error.strerror or error}): it needs {size / 2**20:,.1f} MB, {disk} has '
        f'{free / 2**20:,.1f} MB free. Earlier checkpoints are untouched. Make room, or set out_dir of the checkpoint '
        "hook, and go on with --resume; with on_error='continue' the hook goes on without this checkpoint"
    )


class _RemovesLater:
    """A file backend that removes files only at ``flush``."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._waiting: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._waiting.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._waiting.append((self._backend.rmtree, path))

    def flush(self, keep: set[Any]) -> None:
        """Remove all but the paths in ``keep``."""
        for remove, path in self._waiting:
            if path not in keep and self._backend.exists(path):
                remove(path)
        self.discard()

    def discard(self) -> None:
        """Remove nothing."""
        self._waiting.clear()


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook whose checkpoints survive a kill, a full disk and a quota.

    A checkpoint is written to a temporary file, flushed and renamed, and so is ``last_checkpoint``. Older checkpoints
    are removed only afterwards: for a moment the disk holds one more than ``max_keep_ckpts``.

    Args:
        on_error: 'stop' ends the run when a checkpoint cannot be written; 'continue' logs the error and goes on.
        kwargs: arguments of CheckpointHook.

    Raises:
        CheckpointWriteError: if a checkpoint cannot be written and ``on_error='stop'``.
    """

    def __init__(
        self,
        interval: Annotated[int, Rule('a positive integer, or -1 for none', lambda n: n > 0 or n == -1)] = -1,
        *args: Any,
        max_keep_ckpts: Annotated[int, Rule('a positive integer, or -1 for all', lambda n: n > 0 or n == -1)] = -1,
        save_best: str | list[str] | None = None,
        on_error: Annotated[str, OneOf(('stop', 'continue'))] = 'stop',
        **kwargs: Any,
    ) -> None:
        if unknown := set(kwargs) - {*signature(CheckpointHook).parameters}:
            raise TypeError(f'unknown argument {", ".join(sorted(unknown))}: correct the name, or leave it out')
        try:
            super().__init__(interval, *args, max_keep_ckpts=max_keep_ckpts, save_best=save_best, **kwargs)
        except ValueError as error:
            raise ValueError(f"save_best={save_best!r}: {error} Give rule as well, or save_best='auto'") from error
        self.on_error = on_error
        self._in_transaction = False

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        self.file_backend: Any
        if type(self.file_backend) is LocalBackend and self.file_client_args is None:
            self.backend_args = dict(backend=ATOMIC)
        self.file_backend = _RemovesLater(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._transaction(runner):
            if self.max_keep_ckpts > 0 and [*self.keep_ckpt_ids][-1:] != [step]:
                if len(self.keep_ckpt_ids) == self.max_keep_ckpts and is_main_process():
                    oldest = self.filename_tmpl.format(self.keep_ckpt_ids[0])
                    self._remove(self.file_backend.join_path(self.out_dir, oldest))
                self.keep_ckpt_ids.append(step)  # at most max_keep_ckpts: the oldest one drops out
                runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
            name = self.filename_tmpl.format(step)
            self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
            runner.message_hub.update_info('last_ckpt', self.last_ckpt)
            runner.save_checkpoint(
                self.out_dir,
                name,
                self.file_client_args,
                save_optimizer=self.save_optimizer,
                save_param_scheduler=self.save_param_scheduler,
                meta=meta,
                by_epoch=self.by_epoch,
                backend_args=self.backend_args,
                **self.args,
            )
            if is_main_process():
                AtomicBackend().put(self.last_ckpt.encode(), Path(runner.work_dir) / 'last_checkpoint')

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # of DeepSpeed
            self.file_backend.rmtree(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._transaction(runner):
            super()._save_best_checkpoint(runner, metrics)

    @contextmanager
    def _transaction(self, runner: Runner) -> Iterator[None]:
        """Remove older checkpoints once all inside is written; after a failed write take everything back."""
        if self._in_transaction:
            yield
            return
        names = ('keep_ckpt_ids', 'last_ckpt', 'best_ckpt_path', 'best_ckpt_path_dict')
        state = {name: copy.copy(value) for name, value in vars(self).items() if name in names}
        info = dict(runner.message_hub.runtime_info)
        self._in_transaction = True
        try:
            yield
            best = {getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()}
            self.file_backend.flush(keep={self.last_ckpt, *best})
        except CheckpointWriteError as error:
            self.__dict__.update(state)
            runner.message_hub.runtime_info.clear()
            runner.message_hub.runtime_info.update(info)
            if self.on_error == 'stop':
                raise
            runner.logger.error(error)
        finally:
            self.file_backend.discard()
            self._in_transaction = False
