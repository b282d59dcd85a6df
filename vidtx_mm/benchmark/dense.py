"""Count multiply-adds of detectors, pose models and image classifiers, as mmdet's tool and UniFormer's authors do."""

from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from .complexity import Complexity, Shape, build_on_meta, count

DETECTION_SHAPE = (3, 800, 1280)
BOXES, MASKS = 1000, 100  # regions per image for the heads of a detector


def count_detector(cfg: Config, shape: Shape | None = None) -> Complexity:
    """Count a two-stage detector on an image (3, H, W), with the heads on a fixed number of regions."""
    return count(build_on_meta(cfg), (1, *(shape or DETECTION_SHAPE)), call=_detect)


def count_pose(cfg: Config, shape: Shape | None = None) -> Complexity:
    """Count a top-down pose model on the crop of one person (3, H, W), without the flipped crop of the test."""
    return count(build_on_meta(cfg), (1, *(shape or pose_shape(cfg))), call=_estimate)


def pose_shape(cfg: Config) -> Shape:
    """Return (3, H, W) of the crop, from the codec."""
    width, height = cfg.model.head.decoder.input_size
    return (3, height, width)


def count_classifier(cfg: Config, shape: Shape | None = None) -> Complexity:
    """Count an image classifier on an image (3, H, W)."""
    return count(build_on_meta(cfg), (1, *(shape or image_shape(cfg))), call=_estimate)


def image_shape(cfg: Config) -> Shape:
    """Return (3, H, W) of the crop of the test pipeline."""
    side = next(step['crop_size'] for step in cfg.test_dataloader.dataset.pipeline if 'crop_size' in step)
    return (3, side, side)


def _estimate(model: nn.Module, images: Tensor) -> Any:
    return model(images, None, mode='tensor')


def _detect(model: Any, images: Tensor) -> None:
    model.rpn_head(model.extract_feat(images))
    for heads, extractors, regions in (
        (model.roi_head.bbox_head, model.roi_head.bbox_roi_extractor, BOXES),
        (model.roi_head.mask_head, model.roi_head.mask_roi_extractor, MASKS),
    ):
        extractor = _listed(extractors)[0]
        crops = torch.empty(regions, extractor.out_channels, *extractor.roi_layers[0].output_size, device='meta')
        for head in _listed(heads):
            head(crops)


def _listed(module: nn.Module) -> list[Any]:
    """Return the stages of a cascade, or the single head."""
    return list(module) if isinstance(module, nn.ModuleList) else [module]
