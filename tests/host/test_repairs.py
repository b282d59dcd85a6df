"""Each repair on the released packages: the code fails with the repair disabled and works with it."""

import re
import socket
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from vidtx_mm.compat import REPAIRS, disabled

RunPython = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Case:
    """Code that runs into the fault, its error, and files to put on the path."""

    code: str
    error: str
    files: dict[str, str] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)


CHECKPOINT = """
import torch
from mmengine.logging import MessageHub
from mmengine.runner import CheckpointLoader
hub = MessageHub.get_instance('a')
hub.update_scalar('loss', 0.5)
hub.update_info('eta', __import__('numpy').float64(3))
torch.save(dict(message_hub=hub.state_dict()), 'epoch_1.pth')
loaded = CheckpointLoader.load_checkpoint('epoch_1.pth', map_location='cpu')['message_hub']
assert loaded['log_scalars']['loss'].statistics('mean') == 0.5, loaded
assert loaded['runtime_info']['eta'] == 3, loaded
"""

# A web address, for which MMEngine asks torch to unpickle everything.
PICKLE = """
import os
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
import torch
from mmengine.runner import CheckpointLoader


class Payload:
    def __reduce__(self):
        return os.mkdir, ('ran',)


torch.save(Payload(), 'hostile.pth')
server = ThreadingHTTPServer(('127.0.0.1', 0), SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ.update(TORCH_HOME=os.getcwd(), NO_PROXY='*')
for place in ('hostile.pth', f'http://127.0.0.1:{server.server_port}/hostile.pth'):
    try:
        CheckpointLoader.load_checkpoint(place, map_location='cpu')
    except Exception as error:
        print(error)
assert Path('hub/checkpoints/hostile.pth').exists()
assert not Path('ran').exists(), 'the code was executed'
"""

# A run of one epoch in work_dir, and one that resumes from what it left.
RUNNER = """
from pathlib import Path
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Toy(BaseModel):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode):
        return dict(loss=self.fc(inputs).mean())

    def train_step(self, data, optim_wrapper):
        return super().train_step(dict(inputs=data), optim_wrapper)


def runner(epochs, **settings):
    return Runner(
        Toy(),
        'work_dir',
        train_dataloader=dict(
            dataset=[torch.ones(2)] * 2,
            sampler=dict(type='DefaultSampler'),
            batch_size=2,
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        experiment_name=f'to {epochs}',
        **settings,
    )


runner(1).train()
"""

META_CONFIG = (
    RUNNER
    + """
path = 'work_dir/epoch_1.pth'
checkpoint = torch.load(path)
checkpoint['meta']['config'] = "open('ran', 'w')"
torch.save(checkpoint, path)
runner(2, resume=True).train()
assert Path('work_dir/epoch_2.pth').exists()
assert not Path('ran').exists(), 'the text was executed'
"""
)

WEIGHTS_CONFIG = """
from pathlib import Path
import torch
from mmengine.infer import BaseInferencer


class Inferencer(BaseInferencer):
    visualize = postprocess = _init_pipeline = None


text = "open('ran', 'w').close()\\nmodel = dict(type='Unknown')"
torch.save(dict(message_hub=dict(runtime_info=dict(cfg=text))), 'weights.pth')
try:
    Inferencer(None, 'weights.pth', 'cpu')
except ValueError as error:
    assert "model='config.py'" in str(error), error
except KeyError as error:
    print(error)
assert not Path('ran').exists(), 'the text was executed'
"""

RESUME = (
    RUNNER
    + """
runner(2, resume=True).train()
path = Path('work_dir/epoch_2.pth')
path.write_bytes(path.read_bytes()[:-100])
again = runner(3, resume=True)
again.train()
assert 'resumed epoch: 1, iter: 1' in next(Path(again.log_dir).glob('*.log')).read_text()
"""
)

CFG_OPTIONS = """
from pathlib import Path
from mmengine.config import Config
Path('config.py').write_text('lr = 1.0\\noptimizer = dict(groups=[dict(lr=lr)], momentum=0.9)')
cfg = Config.fromfile('config.py')
cfg.optimizer.momentum = 0.5
cfg.merge_from_dict({'lr': 2.0})
assert cfg.optimizer == dict(groups=[dict(lr=2.0)], momentum=0.5), f'without effect: {cfg.optimizer}'
"""

INIT = """
import torch
from mmengine.dist import init_dist
init_dist('pytorch', backend='gloo')
assert torch.distributed.get_backend() == 'gloo'
torch.distributed.destroy_process_group()
"""

WRAP = """
import torch
from mmengine.model import MMDistributedDataParallel
torch.distributed.init_process_group('gloo', store=torch.distributed.HashStore(), rank=0, world_size=1)
MMDistributedDataParallel(module=torch.nn.Linear(2, 1), device_ids=[0])(torch.ones(1, 2)).sum().backward()
torch.distributed.destroy_process_group()
"""

# Two processes of three steps; the first one logs.
LOSSES = """
import os
import torch
from types import SimpleNamespace
from mmengine.logging import MessageHub
from mmengine.runner import LogProcessor
rank = int(os.fork() == 0)
store = torch.distributed.FileStore('store', 2)
torch.distributed.init_process_group('gloo', store=store, rank=rank, world_size=2)
hub = MessageHub.get_instance('losses')
for step in range(3):
    hub.update_scalar('train/loss', float(step + rank))
    hub.update_scalar('train/lr', 0.1)
loop = SimpleNamespace(dataloader=[0] * 3)
runner = SimpleNamespace(message_hub=hub, train_loop=loop, _train_loop=loop, epoch=0, iter=2, max_epochs=1)
tag, _ = LogProcessor(window_size=2).get_log_after_iter(runner, 2, 'train')
torch.distributed.destroy_process_group()
if rank:
    os._exit(0)
os.wait()
assert tag['lr'] == 0.1, tag
assert tag['loss'] == 2.0, f"loss of one process: {tag['loss']}"
"""

NUMPY_NAMES = """
import numpy as np
from mmaction.datasets.transforms import PoseCompact
from mmaction.evaluation.functional import average_recall_at_avg_proposals
from mmaction.evaluation.metrics.multimodal_metric import RetrievalRecall
PoseCompact()(dict(img_shape=(64, 64), keypoint=np.full((1, 2, 3, 2), 20.0) + np.arange(3)[:, None]))
assert RetrievalRecall.calculate(np.array([[0.1, 0.9]]), np.array([[0, 1]]), topk=1)[0] == 100
found = average_recall_at_avg_proposals({'a': np.array([[0.0, 1.0]])}, {'a': np.array([[0.0, 1.0, 0.9]])}, 1)
_, recall, proposals, area = found
assert np.isclose(area, 100 * np.trapezoid(recall, proposals) / proposals[-1]) and area > 0, area
assert not hasattr(np, 'Inf')
"""

# The import in mmpose 1.3.2 (mmpose/visualization/simcc_vis.py), and a torchvision built for another torch.
MMPOSE = {
    'mmpose/__init__.py': '',
    'mmpose/visualization/__init__.py': 'from .simcc_vis import SimCCVisualizer',
    'mmpose/visualization/simcc_vis.py': (
        'from torchvision.transforms import ToPILImage\n'
        'class SimCCVisualizer:\n'
        '    def draw(self):\n'
        '        return ToPILImage()\n'
    ),
}
BROKEN_TORCHVISION = {
    'torchvision/__init__.py': 'raise RuntimeError("operator torchvision::nms does not exist")',
    'torchvision/transforms.py': '',
}
SIMCC = """
import sys
from mmpose.visualization import SimCCVisualizer
assert 'torchvision' not in sys.modules
try:
    SimCCVisualizer().draw()
except ImportError as error:
    assert 'torchvision' in str(error)
else:
    raise AssertionError('drew without torchvision')
"""

# The imports in mmpretrain 1.2.0.
MMPRETRAIN = {
    'mmpretrain/__init__.py': '',
    'mmpretrain/datasets/__init__.py': '',
    'mmpretrain/datasets/transforms/__init__.py': '',
    'mmpretrain/datasets/transforms/processing.py': (
        'import torchvision\n'
        'import torchvision.transforms.functional as F\n'
        'from torchvision import transforms\n'
        'from torchvision.transforms.transforms import InterpolationMode\n'
        'assert not [name for name in dir(torchvision.transforms) if name[0].isupper()]\n'
        'class MAERandomResizedCrop(transforms.RandomResizedCrop): ...\n'
    ),
    'mmpretrain/models/__init__.py': '',
    'mmpretrain/models/utils/__init__.py': '',
    'mmpretrain/models/utils/box_utils.py': 'import torchvision.ops.boxes as boxes',
}
TORCHVISION = """
import sys
from mmpretrain.datasets.transforms.processing import MAERandomResizedCrop
from mmpretrain.models.utils.box_utils import boxes
assert 'torchvision' not in sys.modules
for build in (lambda: MAERandomResizedCrop(size=3), lambda: boxes.box_area([])):
    try:
        build()
    except ImportError as error:
        assert 'needs torchvision: install the build' in str(error)
    else:
        raise AssertionError('ran without torchvision')
"""


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('localhost', 0))
        return str(probe.getsockname()[1])


CASES = {
    'drn': Case('import mmaction.models', r"No module named 'mmaction\.models\.localizers\.drn'"),
    'multimodal': Case('import mmaction.models', r"No module named 'timm'|cannot import name .* from 'transformers"),
    'weights_only': Case(CHECKPOINT, r'Weights only load failed'),
    'pickle': Case(PICKLE, r'the code was executed'),
    'meta_config': Case(META_CONFIG, r'the text was executed'),
    'weights_config': Case(WEIGHTS_CONFIG, r'the text was executed'),
    'resume': Case(RESUME, r'PytorchStreamReader'),
    'cfg_options': Case(CFG_OPTIONS, r'without effect'),
    'ddp_init': Case(
        INIT,
        r'_cuda_setDevice|NVIDIA|CUDA',
        env=dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='localhost'),
    ),
    'ddp_device_ids': Case(WRAP, r'device_ids and output_device arguments only work with'),
    'ddp_losses': Case(LOSSES, r'loss of one process: 1\.5'),
    'numpy2': Case(NUMPY_NAMES, r'np\.Inf. was removed'),
    'simcc': Case(SIMCC, r"No module named 'torchvision'|torchvision::nms", files=MMPOSE | BROKEN_TORCHVISION),
    'torchvision': Case(
        TORCHVISION, r"No module named 'torchvision'|torchvision::nms", files=MMPRETRAIN | BROKEN_TORCHVISION
    ),
}


def run_case(name: str, run_python: RunPython, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    case = CASES[name]
    for file, text in case.files.items():
        (folder / 'path' / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / 'path' / file).write_text(text)
    env |= case.env | {'PYTHONPATH': str(folder / 'path'), 'MASTER_PORT': free_port()}
    return run_python(['-c', 'import vidtx_mm\n' + case.code], folder, env)


@pytest.fixture(scope='module')
def repaired(run_python: RunPython, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Output of all cases without files, run in one process: 'name works' or a traceback for each."""
    together = [name for name, case in CASES.items() if not case.files]
    parts = '\n'.join(
        f"""
try:
    exec({CASES[name].code!r}, {{}})
    print({name!r}, 'works')
except Exception:
    traceback.print_exc()
"""
        for name in together
    )
    env = CASES['ddp_init'].env | {'MASTER_PORT': free_port()}
    return run_python(['-c', f'import traceback, vidtx_mm\n{parts}'], tmp_path_factory.mktemp('on'), env).stdout


def test_every_repair_has_a_case() -> None:
    assert [row.name for row in REPAIRS if row.repair] == list(CASES)


@pytest.mark.parametrize('name', CASES)
def test_fails_without_and_works_with_the_repair(
    name: str, run_python: RunPython, tmp_path: Path, repaired: str
) -> None:
    case = CASES[name]
    (row,) = (row for row in REPAIRS if row.name == name)
    if not case.files and not row.detect():
        pytest.skip(f'this host does not have the fault {name!r} ({row.package} {row.versions})')

    off = run_case(name, run_python, tmp_path, VIDTX_MM_NO_REPAIR=name)
    assert off.returncode != 0
    assert re.search(case.error, off.stdout), off.stdout[-2000:]

    if case.files:
        on = run_case(name, run_python, tmp_path)
        assert on.returncode == 0, on.stdout[-2000:]
    else:
        assert f'{name} works\n' in repaired, repaired[-4000:]


def test_import_of_vidtx_mm_imports_no_host_package(run_python: RunPython, tmp_path: Path) -> None:
    code = "import sys, vidtx_mm; print([m for m in ('torch', 'numpy', 'mmengine', 'mmaction') if m in sys.modules])"
    assert run_python(['-c', code], tmp_path).stdout.strip() == '[]'


def test_a_host_imported_earlier_is_repaired(run_python: RunPython, tmp_path: Path) -> None:
    """Each repair is logged once, at debug level."""
    code = (
        'import logging; logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s")\n'
        'import mmengine.dist, mmengine.runner, mmaction.utils\n'
        'import vidtx_mm, mmaction.models, mmaction.models.localizers\n'
    ) + CHECKPOINT
    done = run_python(['-c', code], tmp_path)
    assert done.returncode == 0, done.stdout[-2000:]
    logged = re.findall(r'^vidtx_mm (\w+) repaired (\w+)', done.stdout, flags=re.MULTILINE)
    assert ('DEBUG', 'mmengine') in logged
    assert {level for level, _ in logged} == {'DEBUG'}
    lines = [line for line in done.stdout.splitlines() if line.startswith('vidtx_mm')]
    assert len(lines) == len(set(lines))


def test_disable_all(run_python: RunPython, tmp_path: Path) -> None:
    """VIDTX_MM_NO_REPAIR=all installs no finder."""
    code = 'import sys, vidtx_mm; print([f for f in sys.meta_path if type(f).__module__ == "vidtx_mm.compat"])'
    assert run_python(['-c', code], tmp_path, {'VIDTX_MM_NO_REPAIR': 'all'}).stdout.strip() == '[]'


def test_unknown_name_lists_the_valid_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('VIDTX_MM_NO_REPAIR', 'drn,weights')
    with pytest.raises(ValueError, match=r"\['weights'\].*'drn'.*'weights_only'"):
        disabled()


@pytest.mark.parametrize('name, reference', [('DRN', 'mmaction2#2714'), ('VindLUVQA', 'transformers<4.56')])
def test_building_a_placeholder_names_the_remedy(name: str, reference: str) -> None:
    import mmaction.models  # noqa: F401
    from mmaction.registry import MODELS

    built = MODELS.get(name)
    if 'mmaction.models' in built.__module__:
        pytest.skip(f'this host has {name}')
    with pytest.raises(ImportError, match=reference):
        MODELS.build(dict(type=name))


def test_nccl_without_cuda_names_the_remedy(run_python: RunPython, tmp_path: Path) -> None:
    code = "import vidtx_mm; from mmengine.dist import init_dist; init_dist('pytorch', backend='nccl')"
    done = run_python(['-c', code], tmp_path, CASES['ddp_init'].env | {'MASTER_PORT': free_port()})
    assert 'env_cfg.dist_cfg.backend=gloo' in done.stdout


def test_table_is_documented() -> None:
    """docs/host_repairs.md has a row for each fault, in the same order."""
    page = (Path(__file__).parents[2] / 'docs/host_repairs.md').read_text()
    assert re.findall(r'^\| `(\w+)` \|', page, flags=re.MULTILINE) == [row.name for row in REPAIRS]
    assert all(row.issue in page for row in REPAIRS if '#' in row.issue)
