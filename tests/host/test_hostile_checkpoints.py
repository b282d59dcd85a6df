"""Checkpoints that carry code, through every route that opens one: the table of docs/reliability.md."""

import itertools
import os
import pickle
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mmaction.apis
import numpy as np
import pytest
import torch
from mmaction.apis.inferencers.actionrecog_inferencer import ActionRecogInferencer
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from test_mim import CONFIG

import vidtx_mm
from vidtx_mm.apis import host
from vidtx_mm.cli import main

pytestmark = pytest.mark.usefixtures('own_scope')
NAMES = (f'hostile{number}' for number in itertools.count())
PAGE = Path(__file__).parents[2] / 'docs/reliability.md'


class Call:
    """Unpickle as a call of ``function(*args)``."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def touch(marker: Path) -> Call:
    return Call(os.system, f'touch {marker}')


def with_text(state: dict[str, Any], marker: Path) -> dict[str, Any]:
    """Put code where MMEngine keeps the text of a config."""
    text = f'open({str(marker)!r}, "w").close()\nmodel = dict(type="Unknown")'
    hub = state['message_hub']
    info = {**hub['runtime_info'], 'cfg': text}
    return {
        **state,
        'meta': {**state['meta'], 'config': text, 'cfg': text},
        'message_hub': {**hub, 'runtime_info': info},
    }


def dump(content: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(content, protocol=4))


def save_legacy(content: Any, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def arrays(content: Any, path: Path) -> None:
    with path.open('wb') as file:
        np.savez(file, **content)


# name -> a function of (the content of a sound checkpoint, the file to write, the file that the code would make)
PAYLOADS: dict[str, Callable[[dict[str, Any], Path, Path], None]] = {
    'os.system among the weights, zip': lambda state, path, marker: torch.save(
        {**state, 'state_dict': {**state['state_dict'], 'x': touch(marker)}}, path
    ),
    'os.system in the optimizer, legacy': lambda state, path, marker: save_legacy(
        {**state, 'optimizer': dict(state=[touch(marker)])}, path
    ),
    'os.system in an array of objects, zip': lambda state, path, marker: torch.save(
        {**state, 'message_hub': np.array([touch(marker)], dtype=object)}, path
    ),
    'os.system, plain pickle': lambda state, path, marker: dump(touch(marker), path),
    'os.system, .npz': lambda state, path, marker: arrays(dict(x=np.array([touch(marker)], dtype=object)), path),
    'text of a config': lambda state, path, marker: torch.save(with_text(state, marker), path),
}
# The tools take a second for each.
OF_TOOLS = ('os.system among the weights, zip', 'os.system in the optimizer, legacy', 'text of a config')


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory, clips: Any) -> SimpleNamespace:
    """A config and a work dir of one epoch."""
    folder = tmp_path_factory.mktemp('hostile')
    config = folder / 'swin3d_tiny.py'
    config.write_text(CONFIG.substitute(vars(clips)))
    strict_config = folder / 'strict.py'
    strict_config.write_text(config.read_text() + "custom_hooks = [dict(type='vidtx_mm.WeightInflationHook')]\n")
    work_dir = folder / 'work'
    cfg = Config.fromfile(config)
    cfg.work_dir, cfg.experiment_name = str(work_dir), 'hostile'
    Runner.from_cfg(cfg).train()
    for best in work_dir.glob('best_*'):
        best.unlink()
    return SimpleNamespace(
        config=config,
        strict_config=strict_config,
        work_dir=work_dir,
        state=torch.load(work_dir / 'epoch_1.pth'),
        video=clips.root / 'val_0.mp4',
    )


def tool(name: str, run: SimpleNamespace, *words: object, options: tuple[str, ...] = ()) -> None:
    """MMAction2's own tool in this process, as mim starts it."""
    words = (*words, '--work-dir', run.out, '--cfg-options', f'experiment_name={next(NAMES)}', *options)
    command = host.host_command(name, [run.config, *words])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', command[1:])
        patch.setenv('LOCAL_RANK', '0')
        runpy.run_path(command[1], run_name='__main__')


def command(run: SimpleNamespace, *words: object) -> None:
    """A ``vidtx`` command; its errors are raised."""
    main([*map(str, words), '--debug'])


def on_video(name: str, *words: str) -> Callable[[SimpleNamespace], None]:
    return lambda run: command(
        run, name, run.video, '--config', run.config, '--checkpoint', run.checkpoint, *words, '--out', run.out / 'out'
    )


def from_pretrained(run: SimpleNamespace) -> None:
    cfg = Config.fromfile(run.config).model
    cfg.backbone.init_cfg = dict(type='vidtx_mm.FromPretrained', checkpoint=str(run.checkpoint))
    with DefaultScope.overwrite_default_scope('mmaction'):
        MODELS.build(cfg).init_weights()


def strict(run: SimpleNamespace) -> SimpleNamespace:
    """The same with WeightInflationHook in the config."""
    return SimpleNamespace(**{**vars(run), 'config': run.strict_config})


# name -> a function of a run: its config, the checkpoint, a video, and a folder ``out``
TOOLS: dict[str, Callable[[SimpleNamespace], Any]] = {
    'mim test --checkpoint': lambda run: tool('test', run, run.checkpoint),
    'mim test --checkpoint, WeightInflationHook': lambda run: tool('test', strict(run), run.checkpoint),
    'mim train --resume FILE': lambda run: tool('train', run, '--resume', run.checkpoint),
    'mim train --resume': lambda run: tool('train', run, '--resume', 'auto'),
    'load_from': lambda run: tool('train', run, options=(f'load_from={run.checkpoint}',)),
    'load_from, WeightInflationHook': lambda run: tool('train', strict(run), options=(f'load_from={run.checkpoint}',)),
}
ROUTES: dict[str, Callable[[SimpleNamespace], Any]] = {
    **TOOLS,
    'FromPretrained': from_pretrained,
    'create_model': lambda run: vidtx_mm.create_model(run.config, run.checkpoint),
    'init_recognizer of MMAction2': lambda run: mmaction.apis.init_recognizer(
        str(run.config), str(run.checkpoint), device='cpu'
    ),
    'inferencer from weights alone': lambda run: ActionRecogInferencer(None, str(run.checkpoint), 'cpu'),
    'vidtx convert': lambda run: command(run, 'convert', run.checkpoint, run.out / 'out.pth', '--config', run.config),
    'vidtx predict': lambda run: command(
        run, 'predict', run.video, '--config', run.config, '--checkpoint', run.checkpoint
    ),
    'vidtx features': on_video('features'),
    'vidtx explain': on_video('explain'),
    'vidtx timeline': on_video('timeline'),
    'vidtx export': lambda run: command(
        run, 'export', run.out / 'out.pt2', '--format', 'torch_export', '--config', run.config,
        '--checkpoint', run.checkpoint,
    ),
    'vidtx report': lambda run: command(run, 'report', run.out),
}  # fmt: skip


@pytest.fixture
def run(trained: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """A copy of the work dir, in which the checkpoint is to be replaced."""
    out = tmp_path / 'work'
    shutil.copytree(trained.work_dir, out)
    (out / 'last_checkpoint').write_text(str(out / 'epoch_1.pth'))
    return SimpleNamespace(**{**vars(trained), 'checkpoint': out / 'epoch_1.pth', 'out': out})


@pytest.mark.parametrize('name', PAYLOADS)
def test_payloads_are_live(name: str, trained: SimpleNamespace, tmp_path: Path) -> None:
    """Readers that do not protect themselves run them."""
    path, marker = tmp_path / 'epoch_1.pth', tmp_path / 'ran'
    PAYLOADS[name](trained.state, path, marker)
    if name.endswith('.npz'):
        np.load(path, allow_pickle=True)['x']
    elif name == 'text of a config':
        Config.fromstring(torch.load(path)['meta']['config'], '.py')
    else:
        with suppress(RuntimeError):  # about what the code returned
            torch.load(path, weights_only=False)
    assert marker.exists()


@pytest.mark.parametrize('route', ROUTES)
def test_no_code_runs(route: str, trained: SimpleNamespace, run: SimpleNamespace, tmp_path: Path) -> None:
    marker = tmp_path / 'ran'
    for name in OF_TOOLS if route in TOOLS else PAYLOADS:
        PAYLOADS[name](trained.state, run.checkpoint, marker)
        try:
            ROUTES[route](run)
        except Exception as error:
            ended: Exception | None = error
        else:
            ended = None
        assert not marker.exists(), f'{name}: the code ran'
        # The text is data to all routes but one, the other payloads are refused.
        refused = name != 'text of a config' or route == 'inferencer from weights alone'
        assert (ended is not None) == refused, (name, ended)


def test_page_has_every_row() -> None:
    page = PAGE.read_text(encoding='utf-8').split('## Hostile checkpoints')[1].split('\n## ')[0]
    assert re.findall(r'^\| `(.+)` \|', page, flags=re.MULTILINE) == [*ROUTES]
    assert all(name in page for name in PAYLOADS)
