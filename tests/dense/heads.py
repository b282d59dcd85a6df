"""Heads of the published dense files, as the official repositories name and shape them."""

from published import Shapes, affine, batch_norm

DIMS = (64, 128, 320, 512)  # of UniFormer-S and B
MASK = {
    **{f'convs.{i}.conv.weight': (256, 256, 3, 3) for i in range(4)},
    'upsample.weight': (256, 256, 2, 2),
    'conv_logits.weight': (80, 256, 1, 1),
}
BOX = {
    'shared_fcs.0.weight': (1024, 12544),
    'shared_fcs.1.weight': (1024, 1024),
    'fc_cls.weight': (81, 1024),
    'fc_reg.weight': (320, 1024),
}
CASCADE_BOX = {key: shape for key, shape in BOX.items() if key != 'shared_fcs.1.weight'}


def with_biases(shapes: Shapes) -> Shapes:
    return {
        name: shape for key, weight in shapes.items() for name, shape in affine(key[: -len('.weight')], *weight).items()
    }


def conv_bn(name: str, *shape: int) -> Shapes:
    return {f'{name}.conv.weight': shape} | batch_norm(f'{name}.bn', shape[0])


def neck(dims: tuple[int, ...] = DIMS) -> Shapes:
    shapes: Shapes = {}
    for level, dim in enumerate(dims):
        shapes |= affine(f'neck.lateral_convs.{level}.conv', 256, dim, 1, 1)
        shapes |= affine(f'neck.fpn_convs.{level}.conv', 256, 256, 3, 3)
    return shapes


def rpn() -> Shapes:
    layers = {'rpn_conv': (256, 256, 3, 3), 'rpn_cls': (3, 256, 1, 1), 'rpn_reg': (12, 256, 1, 1)}
    return with_biases({f'rpn_head.{layer}.weight': shape for layer, shape in layers.items()})


def mask_rcnn(dims: tuple[int, ...] = DIMS) -> Shapes:
    boxes = {f'roi_head.bbox_head.{key}': shape for key, shape in BOX.items()}
    masks = {f'roi_head.mask_head.{key}': shape for key, shape in MASK.items()}
    return neck(dims) | rpn() | with_biases(boxes | masks)


def cascade_mask_rcnn(dims: tuple[int, ...] = DIMS) -> Shapes:
    shapes = neck(dims) | rpn()
    for stage in range(3):
        box = f'roi_head.bbox_head.{stage}'
        shapes |= with_biases({f'{box}.{key}': shape for key, shape in CASCADE_BOX.items()})
        shapes |= with_biases({f'roi_head.mask_head.{stage}.{key}': shape for key, shape in MASK.items()})
        for layer in range(4):
            shapes |= conv_bn(f'{box}.shared_convs.{layer}', 256, 256, 3, 3)
    return shapes


def pose(name: str = 'keypoint_head') -> Shapes:
    """The head of mmpose 0.x, called ``head`` in the files of mmpose 1.x."""
    shapes = affine(f'{name}.final_layer', 17, 256, 1, 1)
    for layer, dim in enumerate((512, 256, 256)):
        shapes[f'{name}.deconv_layers.{3 * layer}.weight'] = (dim, 256, 4, 4)
        shapes |= batch_norm(f'{name}.deconv_layers.{3 * layer + 1}', 256)
    return shapes


def semantic_fpn(dims: tuple[int, ...] = DIMS) -> Shapes:
    shapes = neck(dims) | affine('decode_head.conv_seg', 150, 128, 1, 1)
    for place, dim in {'0.0': 256, '1.0': 256, '2.0': 256, '2.2': 128, '3.0': 256, '3.2': 128, '3.4': 128}.items():
        shapes |= conv_bn(f'decode_head.scale_heads.{place}', 128, dim, 3, 3)
    return shapes


def upernet(dims: tuple[int, ...] = DIMS) -> Shapes:
    shapes = affine('decode_head.conv_seg', 150, 512, 1, 1) | affine('auxiliary_head.conv_seg', 150, 256, 1, 1)
    shapes |= conv_bn('auxiliary_head.convs.0', 256, dims[2], 3, 3)
    shapes |= conv_bn('decode_head.bottleneck', 512, 4 * 512 + dims[3], 3, 3)
    shapes |= conv_bn('decode_head.fpn_bottleneck', 512, 4 * 512, 3, 3)
    for level in range(4):
        shapes |= conv_bn(f'decode_head.psp_modules.{level}.1', 512, 512, 1, 1)
    for level in range(3):
        shapes |= conv_bn(f'decode_head.lateral_convs.{level}', 512, dims[level], 1, 1)
        shapes |= conv_bn(f'decode_head.fpn_convs.{level}', 512, 512, 3, 3)
    return shapes
