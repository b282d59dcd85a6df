"""Each row of the metafiles with weights names a config that takes its published file whole.

The files have the keys and shapes of their publishers (published.py, published_vits.py) and values of the golden
protocol. tests/dense has the rows of detection, pose and segmentation.
"""

import re
import runpy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import protocol
import pytest
import torch
from forms import listed, mmaction, torchvision
from mmengine.config import Config
from published import CLASSES, Shapes, drawn, entries, parameters, uniformer
from published_vits import KEYS, flax_vit, swin, timesformer, timm_vit
from torch import Tensor
from vivit_forms import mmaction_vit

import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported
from vidtx_mm.benchmark.complexity import build_on_meta
from vidtx_mm.labels import class_names
from vidtx_mm.weights import CheckpointError
from vidtx_mm.weights.formats import open_checkpoint
from vidtx_mm.weights.labels import PERMUTATIONS
from vidtx_mm.weights.load import Options, adapt
from vidtx_mm.weights.report import LoadReport
from vidtx_mm.weights.sources import detect

ROOT = Path(__file__).resolve().parents[2]
ROWS = [row for row in entries() if 'Source Format' in row and Path(row['Config']).parent.name == 'configs']
DATA = {row['Name']: row['Metadata']['Training Data'] for row in entries()}
# Layers of the second encoder: of the published configs.
TEMPORAL = {'vivit_b_fe_k400': 4, 'vivit_l_fe_k400': 24, 'vivit_l_fe_k600': 24, 'vivit_l_fe_epic': 4}
ORDERS = {
    ('uniformer_video', 'Kinetics-400'): 'uniformer_k400',
    ('uniformer_video', 'Kinetics-600'): 'uniformer_k600',
    ('uniformer_video', 'Something-Something V1'): 'uniformer_ssv1',
}
# What a model may have more than the file that it starts from.
ADDED = r'cls_head\..+|(backbone\.)?(time_embed|norm\d\..+|blocks\.\d+\.temporal_fc\..+)'
# What an image model has more than the model that starts from it, and the biases of classifiers.
UNUSED = r'(.*head|head_cls|cls_head\.fc_cls|pre_logits)[./]\w+|.*relative_position_index'
CLASSIFIER_BIAS = r'(model\.)?(cls_head\.fc_cls|head|classifier|output_projection)[./]bias'


def size_of(row: dict[str, Any]) -> str:
    """The letter in a name such as 'Swin-T (image)'."""
    return re.match(r'\w+-(\w+)', row['Metadata']['Architecture'])[1]  # type: ignore[index]


def light(row: dict[str, Any]) -> str:
    return '1234' if row.get('Note') == 'has layer scale' else ''


def swin_video(row: dict[str, Any], classes: int) -> Shapes:
    return swin(size_of(row), (16 if 'ssv2' in row['Name'] else 8, 7, 7), classes)


def flax_video(row: dict[str, Any], classes: int) -> Shapes:
    temporal = TEMPORAL.get(row['Name'], 0)
    return flax_vit(size_of(row)[-1:] or 'B', (2, 16, 16), classes, 197 if temporal else 3137, temporal)


def with_frames(name: str, position: str, frames: str, head: str) -> Callable[[dict[str, Any], int], Shapes]:
    def shapes(row: dict[str, Any], classes: int) -> Shapes:
        patches = (int(row['Metadata']['Resolution'].split('x')[0]) // 16) ** 2
        return timesformer(name, **{position: patches + 1, frames: row['Metadata']['Frames'], head: classes})

    return shapes


OFFICIAL = with_frames('timesformer_divST_8f224_k400_official_pyth', 'pos_embed', 'time_embed', 'head.')
# Source Format -> the keys and shapes of a row's file.
FORMATS: dict[str, Callable[[dict[str, Any], int], Shapes]] = {
    'video_swin': swin_video,
    'mmaction_swin': lambda row, classes: mmaction(swin_video(row, classes)),
    'torchvision_swin3d': lambda row, classes: torchvision(swin_video(row, classes)),
    'microsoft_swin': lambda row, classes: swin(size_of(row), (12, 12) if '384' in row['Name'] else (7, 7), classes),
    'uniformer_video': lambda row, classes: uniformer(size_of(row), 3, classes, light(row)),
    'uniformer_image': lambda row, classes: uniformer(size_of(row), 2, classes),
    'mmaction_uniformer': lambda row, classes: {
        f'cls_head.fc_cls.{key[5:]}' if key.startswith('head.') else f'backbone.{key}': shape
        for key, shape in uniformer(size_of(row), 3, classes).items()
    },
    'timesformer': OFFICIAL,
    'mmaction_timesformer': lambda row, classes: timesformer('timesformer_divST_8f224_k400_mmaction2'),
    'mmaction_timesformer_joint': lambda row, classes: timesformer('timesformer_jointST_8f224_k400_mmaction2'),
    'mmaction_timesformer_space': lambda row, classes: timesformer('timesformer_spaceOnly_8f224_k400_mmaction2'),
    'huggingface_timesformer': with_frames(
        'timesformer_base_k400_huggingface', 'position_embeddings', 'time_embeddings', 'classifier.'
    ),
    'timm_vit': lambda row, classes: timm_vit(classes),
    'mmaction_vit': lambda row, classes: {
        key: shape for key, shape in mmaction_vit(timm_vit(classes)).items() if not key.startswith('head.')
    },
    'scenic_vivit': flax_video,
    'huggingface_vivit': lambda row, classes: listed(KEYS / 'vivit_b16x2_k400_huggingface.txt'),
    'jax_vit': lambda row, classes: flax_vit(size_of(row), (16, 16), classes, 197, original=True),
}


def file_of(row: dict[str, Any]) -> Shapes:
    return FORMATS[row['Source Format']](row, CLASSES[row['Metadata']['Training Data']])


@dataclass(frozen=True)
class Loaded:
    """A file in a model: the source that was recognized, the classifier's bias, and the report."""

    source: str
    bias: Tensor | None
    report: LoadReport


_LOADED: dict[tuple[str, str, frozenset[tuple[str, tuple[int, ...]]]], Loaded] = {}


def load(row: dict[str, Any], shapes: Shapes, options: Mapping[str, int] | None = None) -> Loaded:
    """Load a file into the model of a row's config, in the order of its note, once for equal models and files."""
    model = runpy.run_path(str(ROOT / row['Config']))['model']
    cfg = Config(dict(model=model, default_scope='mmaction'))
    cfg.merge_from_dict({'model.backbone.init_cfg': None, 'model.backbone.drop_path_rate': 0.0, **(options or {})})
    noted = re.search(r'class_order=(\w+)', row.get('Note', ''))
    order = noted[1] if noted else 'auto'
    key = str(cfg.model), order, frozenset(shapes.items())
    if key not in _LOADED:
        opened = open_checkpoint(drawn(shapes))
        state_dict, report = adapt(opened, build_on_meta(cfg), Options(class_order=order))
        _LOADED[key] = Loaded(detect(opened.tensors).name, state_dict.get('cls_head.fc_cls.bias'), report)
    return _LOADED[key]


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row['Name'])
def test_the_config_of_a_row_takes_its_file_whole(row: dict[str, Any]) -> None:
    shapes = file_of(row)
    if 'Parameters' in row['Metadata']:
        assert parameters(shapes) == row['Metadata']['Parameters']
    loaded = load(row, shapes)
    report = loaded.report
    assert loaded.source == row['Source Format']
    if row['Metadata']['Training Data'] != DATA[Path(row['Config']).stem]:  # weights to start from
        assert all(re.fullmatch(ADDED, key) for key in report.keys('left at init'))
        assert all(re.fullmatch(UNUSED, key) for key in report.keys('dropped'))
        return
    assert report.coverage == 1
    assert not report.keys('left at init')
    assert all(key.endswith('relative_position_index') for key in report.keys('dropped'))
    if names := runpy.run_path(str(ROOT / row['Config'])).get('classes'):
        assert len(class_names(names)) == CLASSES[row['Metadata']['Training Data']]
    order = ORDERS.get((row['Source Format'], row['Metadata']['Training Data']))
    assert any("MMAction2's label map" in note for note in report.notes) == bool(order)
    bias = next(key for key in shapes if re.fullmatch(CLASSIFIER_BIAS, key))
    rows = list(PERMUTATIONS[order]) if order else list(range(shapes[bias][0]))
    assert loaded.bias is not None and torch.equal(loaded.bias[rows], drawn({bias: shapes[bias]})[bias])


# Files of which something else is reported than the row's config says.
REPORTED = {
    'uniformer_s_hmdb51': uniformer('S', 3, 101),
    'vivit_b_fe_k400': flax_vit('B', (2, 16, 16), 400, 197, temporal=12),
}


@pytest.mark.parametrize('name', REPORTED)
def test_the_option_in_a_note_takes_the_file_that_it_is_for(name: str) -> None:
    (row,) = [row for row in ROWS if row['Name'] == name]
    key, value = re.search(r'--cfg-options (\S+)=(\d+)', row['Note']).groups()  # type: ignore[union-attr]
    assert load(row, REPORTED[name], {key: int(value)}).report.coverage == 1
    if key == 'model.cls_head.num_classes':
        assert 'cls_head.fc_cls.bias' in load(row, REPORTED[name]).report.keys('left at init')
    else:
        with pytest.raises(CheckpointError, match=f'{key.split(".")[-1]}={value}'):
            load(row, REPORTED[name])


LISTS = {
    'videoswin_tiny_k400_official': swin('T', (8, 7, 7), 400),
    'videoswin_tiny_k400_mmaction2': mmaction(swin('T', (8, 7, 7), 400)),
    'videoswin_tiny_k400_torchvision': torchvision(swin('T', (8, 7, 7), 400)),
    'swin2d_tiny_microsoft_model': swin('T', (7, 7), 1000),
    'vivit_b16x2_unfactorized_k400_scenic': flax_vit('B', (2, 16, 16), 400, 3137),
    'vivit_b16x2_fe_k400_scenic': flax_vit('B', (2, 16, 16), 400, 197, temporal=4),
}
CASES = {
    'uniformer_s_k400_in16x224': uniformer('S', 3, 400),
    'uniformer_small_in1k': uniformer('S', 2, 1000),
    'uniformer_small_plus_in1k': uniformer('S+', 2, 1000),
    'uniformer_dense_s_global_256x192': uniformer('S', 2, None),
}


@pytest.mark.parametrize('name', [*LISTS, *CASES])
def test_the_layouts_are_those_of_the_official_code(name: str) -> None:
    if name in LISTS:
        known = listed(KEYS / f'{name}.txt')
        assert {key: shape for key, shape in known.items() if not key.endswith('attn_mask')} == LISTS[name]
    else:
        assert {key: tuple(shape) for key, shape, *_ in protocol.case(name)['state_dict']} == CASES[name]
