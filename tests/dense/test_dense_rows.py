"""Each row of the metafiles for detection, pose and segmentation names a config that takes its published file whole.

The files have the keys and shapes of the authors and values of the golden protocol.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from heads import cascade_mask_rcnn, mask_rcnn, pose, semantic_fpn, upernet
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from published import CLASSES, UNIFORMERS, Shapes, drawn, entries, parameters, uniformer
from torch import nn

from vidtx_mm.weights.formats import open_checkpoint
from vidtx_mm.weights.load import adapt
from vidtx_mm.weights.sources import detect

ROOT = Path(__file__).resolve().parents[2]
ROWS = [
    row
    for row in entries()
    if 'Source Format' in row and Path(row['Config']).parent.name in ('detection', 'pose', 'segmentation')
]
HEADS = {
    'Mask R-CNN': mask_rcnn,
    'Cascade Mask R-CNN': cascade_mask_rcnn,
    'Semantic FPN': semantic_fpn,
    'UperNet': upernet,
}


def file_of(row: dict[str, Any]) -> Shapes:
    size, task = re.match(r'UniFormer-(\w+)(?:, (.+))?', row['Metadata']['Architecture']).groups()  # type: ignore[union-attr]
    if task is None:
        return uniformer(size, 2, CLASSES[row['Metadata']['Training Data']])
    body = {f'backbone.{key}': shape for key, shape in uniformer(size, 2, None).items()}
    if task == 'top-down heatmap':
        return body | pose('keypoint_head' if row['Name'].endswith('-official') else 'head')
    return body | HEADS[task](UNIFORMERS[size][1])


def on_meta(config: str) -> nn.Module:
    cfg = Config.fromfile(ROOT / config)
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row['Name'])
def test_the_config_of_a_row_takes_its_file_whole(row: dict[str, Any]) -> None:
    shapes = file_of(row)
    assert parameters(shapes) == row['Metadata']['Parameters']
    opened = open_checkpoint({'state_dict': drawn(shapes)})
    assert detect(opened.tensors).name == row['Source Format']
    model = on_meta(row['Config'])
    if row['Source Format'] == 'uniformer_image':  # weights that the backbone starts from
        state_dict, report = adapt(opened, model.backbone)
        assert set(state_dict) == {key for key in shapes if not key.startswith(('norm.', 'head.'))}
        assert all(re.fullmatch(r'norm\d\.\w+', key) for key in report.keys('left at init'))
        return
    _, report = adapt(opened, model)
    assert report.coverage == 1 and not report.keys('left at init')
    unused = {f'backbone.norm{stage}.{part}' for stage in (1, 2, 3) for part in ('weight', 'bias')}
    assert set(report.keys('dropped')) <= (unused if 'pose' in row['Config'] else set())
