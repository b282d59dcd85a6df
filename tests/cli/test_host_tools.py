"""``vidtx train`` and ``vidtx test``: the host's own tools, started as mim starts them."""

import shlex
import sys
from pathlib import Path

import pytest

from vidtx_mm.apis import host
from vidtx_mm.apis.configs import find_config
from vidtx_mm.apis.host import HostError, host_command, progress, run_host, run_logged
from vidtx_mm.cli import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that would be run."""
    commands: list[list[str]] = []
    monkeypatch.setattr(host, 'run_host', commands.append)
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    return commands


def test_train_passes_mims_options_on(started: list[list[str]]) -> None:
    words = '--work-dir w --resume --amp --auto-scale-lr --seed 3 --cfg-options a=1 b=2 --no-validate'
    assert main(['train', 'swin3d_shapes', *words.split()]) == 0
    ((python, tool, config, *options),) = started
    assert python == sys.executable and tool.endswith('tools/train.py') and config == str(find_config('swin3d_shapes'))
    text = shlex.join(options)
    for part in ('--work-dir w', '--resume auto', '--amp', '--auto-scale-lr', '--seed 3', '--cfg-options a=1 b=2'):
        assert part in text
    assert text.endswith('--launcher none')


def test_several_devices_are_started_by_torchrun(started: list[list[str]]) -> None:
    assert main(['train', 'swin3d_shapes', '--gpus', '2', '--resume', 'epoch_3.pth']) == 0
    text = shlex.join(started[0])
    assert '-m torch.distributed.run --nproc_per_node=2' in text and text.endswith('--launcher pytorch')
    assert '--resume epoch_3.pth' in text and 'env_cfg.dist_cfg.backend=gloo' in text


def test_test_takes_a_weights_id(started: list[list[str]]) -> None:
    assert main(['test', 'swin3d_t_k400', '--checkpoint', 'swin3d_t_k400-torchvision', '--dump', 'a.pkl']) == 0
    assert 'https://download.pytorch.org/models/swin3d_t-7615ae03.pth' in started[0]
    assert shlex.join(started[0]).endswith('--dump a.pkl --launcher none')


def test_unknown_config(started: list[list[str]], capsys: pytest.CaptureFixture) -> None:
    assert main(['train', 'swin3d_shape']) == 2 and not started
    assert 'did you mean swin3d_shapes' in capsys.readouterr().err


def test_bad_number_of_devices() -> None:
    with pytest.raises(ValueError, match='gpus=0'):
        host_command('train', [], gpus=0)
    with pytest.raises(FileNotFoundError, match='no tools/tune.py'):
        host_command('tune', [])


def test_a_failure_shows_the_end_of_the_log(tmp_path: Path) -> None:
    code = 'print("a line"); raise SystemExit(3)'
    with pytest.raises(HostError, match='failed with exit code 3'):
        run_host([sys.executable, '-c', code])
    with pytest.raises(HostError, match='(?s)exit code 3.*a line'):
        run_logged([sys.executable, '-c', code], tmp_path / 'logs' / 'a.log', print)
    assert (tmp_path / 'logs' / 'a.log').read_text() == 'a line\n'


def test_a_failing_command_shows_its_end(tmp_path: Path) -> None:
    script = 'for n in range(50): print("line", n)\nraise SystemExit("no such GPU")'
    said: list[str] = []
    with pytest.raises(HostError, match=r'(?s)exit code 1.*x\.log.*line 49\nno such GPU\n.*doctor') as caught:
        run_logged([sys.executable, '-u', '-c', script], tmp_path / 'x.log', said.append)
    assert 'line 20\n' not in str(caught.value)
    assert (tmp_path / 'x.log').read_text().startswith('line 0\n')
    assert not said


PREFIX = '11/22 02:11:58 - mmengine - INFO - '


@pytest.mark.parametrize(
    ('line', 'shown'),
    [
        (
            'Epoch(train)  [3][ 32/64]  base_lr: 4.2e-05 lr: 4.2e-05  eta: 0:00:40  time: 0.8374  data_time: 0.0738  '
            'grad_norm: 2.2123  loss: 2.0806  top1_acc: 0.0000  loss_cls: 2.0806',
            'epoch  3, step 32/64: loss 2.081, 0:00:40 to go',
        ),
        (
            'Epoch(val) [12][2/2]    acc/top1: 0.0938  data_time: 0.4349  time: 1.0516',
            'epoch 12, validation: top-1 0.094',
        ),
        ('Epoch(test) [4/4]    acc/top1: 0.9766  data_time: 0.1  time: 0.2', 'best epoch, held-out clips: top-1 0.977'),
        ('Saving checkpoint at 1 epochs', None),
        ('Exp name: swin3d_shapes_20261122_021123', None),
    ],
)
def test_progress_lines(line: str, shown: str | None, tmp_path: Path) -> None:
    assert progress(f'{PREFIX}{line}\n') == shown
    said: list[str] = []
    run_logged([sys.executable, '-c', f'print({PREFIX + line!r})'], tmp_path / 'x.log', said.append)
    assert said == ([f'  {shown}'] if shown else [])
