"""UniFormer: official image, video and dense checkpoints, image models of mmpretrain, and MMAction2's video port."""

from typing import Any

from .base import Canonical, Convert, Family, KeepInit, Rename, Source, Surplus
from .rules import SSV_CLASSES, bgr_note, inflate_conv

LOCAL, GLOBAL = r'blocks1\.0\.attn\.weight', r'blocks3\.0\.attn\.qkv\.weight'
STAGE_NORM = r'norm4\.weight'
ARCH = 'head_dim of the dict arch'

_BODY = Rename(r'(?:backbone\.)?((?:patch_embed|blocks|norm)\d?\..+|norm_cls\..+|cls_token|cls_upsample\..+)', r'\1')
_HEAD = Rename(r'(?:cls_head\.fc_cls|head|head\.fc)\.(weight|bias)', r'cls_head.fc_cls.\1')
_CLASS_TOKEN_HEAD = Rename(r'(?:cls_head\.fc_token|head_cls|head\.fc_token)\.(weight|bias)', r'cls_head.fc_token.\1')
_TOKEN_LABELS = Rename(r'(?:aux_head|head\.fc_aux)\.(weight|bias)', r'cls_head.fc_aux.\1')

SOURCES = (
    Source(
        name='uniformer_image',
        title='image UniFormer',
        families=('uniformer',),
        ndim=2,
        signature={rf'(backbone\.)?{LOCAL}': 4, rf'(backbone\.)?{GLOBAL}': 2},
        absent=(rf'(backbone\.)?{STAGE_NORM}',),
        backbone=(_BODY,),
        head=(_HEAD, _CLASS_TOKEN_HEAD, _TOKEN_LABELS),
    ),
    Source(
        name='uniformer_dense',
        title='official UniFormer for dense prediction',
        families=('uniformer',),
        ndim=2,
        signature={rf'(backbone\.)?{LOCAL}': 4, rf'(backbone\.)?{STAGE_NORM}': 1},
        backbone=(_BODY,),
        head=(
            Rename(r'keypoint_head\.(.+)', r'head.\1'),
            Rename(r'(?:neck|rpn_head|roi_head|bbox_head|mask_head|decode_head|auxiliary_head|head)\..+', r'\g<0>'),
        ),
    ),
    Source(
        name='uniformer_video',
        title='official video UniFormer',
        families=('uniformer',),
        ndim=3,
        signature={LOCAL: 5, GLOBAL: 2},
        backbone=(_BODY,),
        head=(_HEAD, _CLASS_TOKEN_HEAD),
        class_orders={400: 'uniformer_k400', 600: 'uniformer_k600'},
        order_doubts={
            SSV_CLASSES: 'Something-Something V1 and V2 look the same in a file: the rows were left as they are, which '
            "is right for V2; for V1 set class_order='uniformer_ssv1'",
        },
    ),
    Source(
        name='mmaction_uniformer',
        title='MMAction2 1.x UniFormer',
        families=('uniformer',),
        ndim=3,
        signature={rf'backbone\.{LOCAL}': 5, rf'backbone\.{GLOBAL}': 2},
        backbone=(_BODY,),
        head=(_HEAD,),
    ),
)


def _remarks(source: Source, file: Canonical, model: Any, backbone: Any) -> list[str]:
    channel_order = bgr_note(file, model) if source.name == 'uniformer_video' else []
    return [*_head_dim(source, file, backbone.head_dim), *channel_order]


def _head_dim(source: Source, file: Canonical, head_dim: int) -> list[str]:
    """Return a note where the weights, whose shapes are the same for any head_dim, may belong to another one."""
    if source not in SOURCES:
        return []
    labeled = any('.fc_aux.' in key for key in file.head)
    large = 'blocks3.0.gamma_1' in file.backbone
    conv_stem = 'patch_embed2.proj.0.weight' in file.backbone
    doubt = f'the file does not show its head_dim, the model has {head_dim}: '
    if 'cls_token' in file.backbone:
        return []  # the light models differ in width, so arch decides
    if labeled and large:
        return [f'{doubt}the published code of L has 64, its authors say 32 at 384 x 384; set {ARCH}']
    if labeled or conv_stem:
        which = 'token-labeling files' if labeled else 'S+ files'
        return [f'{doubt}published {which} have 32, or 64 where the name says so; set {ARCH}']
    return [] if head_dim == 64 else [f'{doubt}published files of this format have 64; set {ARCH}']


FAMILY = Family(
    name='uniformer',
    inflate='mean',
    converts=(
        Convert(r'patch_embed\d\.proj(\.\d)?\.weight', inflate_conv, adds_axis=True),
        Convert(
            r'blocks[12]\.\d+\.(pos_embed|attn|conv1|conv2|mlp\.fc1|mlp\.fc2)\.weight', inflate_conv, adds_axis=True
        ),
        Convert(r'blocks[34]\.\d+\.pos_embed\.weight', inflate_conv, adds_axis=True),
    ),
    keeps_init=(
        KeepInit(r'norm\d\..+', 'ImageNet files have no norms of single stages', images_only=False),
        KeepInit(r'blocks\d\.\d+\.gamma_\d', 'image models of this size have no layer scale'),
        KeepInit(r'blocks[34]\.\d+\.t_(norm|attn)\..+', 'the file has no attention over time', images_only=False),
    ),
    surplus=(
        Surplus(r'norm_cls\..+|cls_head\.fc_token\..+', 'of the classifier of the class token, used in training alone'),
        Surplus(r'norm\d\..+', 'of a stage that is not in out_indices'),
        Surplus(r'norm\..+', 'the BatchNorm before the ImageNet classifier; dense models norm each output'),
    ),
    remarks=_remarks,
    heads={'cls_head.fc_cls': 'head.fc', 'cls_head.fc_token': 'head.fc_token', 'cls_head.fc_aux': 'head.fc_aux'},
    advice={
        r'cls_head\.fc_aux\..+': 'aux_head is the second classifier of token labeling, which the published accuracy '
        'includes: set token_labels=True in the config of configs/imagenet (vidtx_mm.TokenLabelClsHead). To train '
        'another head on this backbone, name the file in model.backbone.init_cfg instead',
        r'blocks\d\.\d+\.gamma_\d': "gamma_1 and gamma_2 are layer scale: arch 'base-ls', 'large-ls' or (light) "
        "'xxs-ls', or a dict with layer_scale. For clips the authors advise to start from a file without it",
        r'patch_embed[234]\.proj\.\d\..+': "patch_embed2.proj.0 is a convolution: arch 'small-plus', or a dict with "
        'conv_stem=True',
        r'norm\..+': 'norm is the BatchNorm before a classifier, which detectors, pose models and segmentors lack: '
        r"keep_init='norm\..+' leaves it at init",
        'cls_token': 'cls_token is of the light models: VideoUniFormerLight or ImageUniFormerLight',
    },
)
