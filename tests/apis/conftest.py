"""A small trained-looking run: a config, and a checkpoint whose scores differ from clip to clip."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config

import vidtx_mm
from vidtx_mm.apis.configs import find_config
from vidtx_mm.demo.shapes import CLASSES


@dataclass(frozen=True)
class Run:
    """``work_dir`` holds ``config`` and ``checkpoint``, as a training run leaves them."""

    work_dir: Path
    config: Path
    checkpoint: Path


@pytest.fixture(scope='session')
def demo_run(tmp_path_factory: pytest.TempPathFactory, clips: Any) -> Run:
    """Video Swin of the demo with random weights, on generated clips."""
    folder = tmp_path_factory.mktemp('run')
    cfg = Config.fromfile(find_config('swin3d_shapes'))
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False, batch_size=2)
        loader.dataset.update(ann_file=str(clips.val), data_prefix=dict(video=str(clips.root)))
    cfg.dump(folder / 'swin3d_shapes.py')
    torch.manual_seed(0)
    model = vidtx_mm.create_model('swin3d_shapes')
    torch.nn.init.normal_(model.cls_head.fc_cls.weight, std=2.0)
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), folder / 'epoch_1.pth')
    return Run(folder, folder / 'swin3d_shapes.py', folder / 'epoch_1.pth')
