"""Models by name as plain ``nn.Module``s, without a runner."""

import re
import warnings
from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from vidtx_mm.labels import class_names
from vidtx_mm.registry import MODELS
from vidtx_mm.weights import LoadReport, Opened, Options, adapt, open_checkpoint

from .configs import find_config
from .preprocess import Preprocess
from .zoo import find_checkpoint

HEAD_AT_INIT = 'the classifier stays at its initialization, so that scores mean nothing before training'
OUTPUT_NORM = re.compile(r'backbone\.(temporal_)?norm\d*\.(weight|bias)')


class VideoModel(nn.Module):
    """A backbone with its classifier, or alone.

    Attributes:
        backbone: the backbone.
        cls_head: the classifier, None for features.
        preprocess: the input it expects; calling it normalizes a clip.
        classes: the class names by index, None where they are not known.
    """

    def __init__(
        self, backbone: nn.Module, cls_head: nn.Module | None, preprocess: Preprocess, classes: tuple[str, ...] | None
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = cls_head
        self.preprocess = preprocess
        self.classes = classes

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of each feature map."""
        return self.backbone.out_channels  # type: ignore[return-value]

    @property
    def out_strides(self) -> tuple[tuple[int, int, int], ...]:
        """(t, h, w) stride of each feature map."""
        return self.backbone.out_strides  # type: ignore[return-value]

    def forward(self, clip: Tensor) -> Any:
        """Classify or compute features of a clip.

        Args:
            clip: (B, 3, T, H, W), normalized.

        Returns:
            Scores (B, classes) before the softmax; without a classifier what the backbone returns: a map
            (B, C, T, H, W), or a tuple of them for several ``out_indices``.
        """
        features = self.backbone(clip)
        return features if self.cls_head is None else self.cls_head(features)


def create_model(
    name: str | Path,
    checkpoint: str | Path | Mapping[str, Any] | None = None,
    num_classes: int | None = None,
    features_only: bool = False,
    **backbone_overrides: Any,
) -> VideoModel:
    """Build a model of a config and load weights of any known source, strictly.

    Args:
        name: the name of one of our configs ('swin3d_t_k400', see :func:`list_models`) or the path of any config.
        checkpoint: a file, a web address, a weights id of the zoo, or a state dict; None leaves random weights.
        num_classes: classes of the classifier; those of the config where None. A classifier of another number of
            classes than the file's stays at its initialization.
        features_only: leave out the classifier and return feature maps.
        backbone_overrides: arguments of the backbone in place of the config's, for example ``out_indices=(1, 3)``.

    Returns:
        The model in evaluation mode, on the CPU.

    Raises:
        ValueError: if the name is unknown or its config is no recognizer.
        CheckpointError: if the checkpoint does not fit.
    """
    cfg = Config.fromfile(find_config(name))
    backbone, cls_head = _build_parts(cfg, num_classes, features_only, backbone_overrides)
    model = VideoModel(backbone, cls_head, Preprocess.of(cfg), None)
    found: tuple[str, ...] = ()
    if checkpoint is not None:
        opened = open_checkpoint(checkpoint if isinstance(checkpoint, Mapping) else find_checkpoint(checkpoint))
        options = Options(source=_source(opened, model), head='drop' if features_only else 'auto')
        state_dict, report = adapt(opened, model, options)
        model.load_state_dict({**model.state_dict(), **state_dict})
        found = opened.classes
        if num_classes is None and head_at_init(report):
            warnings.warn(f'{opened.name}: {HEAD_AT_INIT}', stacklevel=2)
    if cls_head is not None:
        model.classes = choose_classes(cfg, cls_head.fc_cls.out_features, found)
    return model.eval()


def head_at_init(report: LoadReport) -> bool:
    """Return whether the classifier was left at init."""
    return any(key.startswith('cls_head.fc_cls') for key in report.keys('left at init'))


def choose_classes(cfg: Config, num_classes: int, of_checkpoint: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    """The class names of a model: those of its checkpoint, else the config's ``classes``; None where none fit."""
    if len(of_checkpoint) == num_classes:
        return of_checkpoint
    names = class_names(cfg.classes) if cfg.get('classes') is not None else ()
    return names if len(names) == num_classes else None


def _source(opened: Opened, model: nn.Module) -> str:
    """'own' for a checkpoint of this backbone with other outputs, which have norms of their own; else 'auto'."""
    file = {key: tensor.shape for key, tensor in opened.tensors.items() if key.startswith('backbone.')}
    wanted = {key: tensor.shape for key, tensor in model.state_dict().items() if key.startswith('backbone.')}
    same = all(file[key] == wanted[key] for key in file.keys() & wanted)
    return 'own' if file and same and all(map(OUTPUT_NORM.fullmatch, file.keys() ^ wanted)) else 'auto'


def _build_parts(
    cfg: Config, num_classes: int | None, features_only: bool, overrides: Mapping[str, Any]
) -> tuple[nn.Module, Any]:
    """Build the backbone and the classifier of a recognizer config; the classifier takes what the backbone gives."""
    if 'cls_head' not in cfg.model or 'test_dataloader' not in cfg:
        raise ValueError(f'{cfg.filename}: its model is no recognizer of clips: build it with the package of its task')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmaction')):
        wanted = {**cfg.model.backbone, 'init_cfg': None}
        if features_only:
            return MODELS.build({**wanted, **_feature_map(wanted), **overrides}), None
        backbone = MODELS.build({**wanted, **overrides})
        head = {**cfg.model.cls_head, 'in_channels': backbone.out_channels[-1]}
        if num_classes is not None:
            if 'class_splits' in head:
                raise ValueError(f'{cfg.filename}: its classifier has class_splits, not num_classes: edit a copy of it')
            head['num_classes'] = num_classes
        return backbone, MODELS.build(head)


def _feature_map(backbone: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which a backbone returns a map instead of one vector per clip."""
    known = signature(MODELS.get(backbone['type'])).parameters
    arguments = {key: value for key, value in dict(pool='none', class_token=False).items() if key in known}
    if backbone.get('attention') == 'factorized_encoder':  # its temporal encoder has no map; its spatial one has
        arguments['out_indices'] = (-1 - backbone.get('temporal_depth', known['temporal_depth'].default),)
    return arguments
