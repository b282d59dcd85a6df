"""UniFormer-XXS on ImageNet-1K, 224 x 224, from scratch.

Recipe: github.com/Sense-X/UniFormer, image_classification/exp_light/xxs_224
Published: top-1 80.6, and 79.9, 79.1 and 76.8 at 192, 160 and 128 pixels (--cfg-options image_size=192); 10.2M
    parameters, 1.3G multiply-adds (README of image_classification). In full precision, as published: without --amp.
Command: mim train mmpretrain uniformer_xxs_in1k.py --launcher pytorch --gpus 8
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes images_per_step.
"""

# Your data, machine and schedule.
data_root = 'data/imagenet/'
dataset_type = 'ImageNet'  # your own classes: 'CustomDataset'
img_train = 'train'  # this and the next three below data_root
img_val = 'val'
ann_file_train = ''  # '' for a folder of images for each class, or a file with lines: image class
ann_file_val = ''
num_classes = 1000
batch_size = 512  # of each GPU
gpus = 8
images_per_step = 4096  # accumulated over several batches if need be
num_workers = 8
lr = 3.2e-3  # for images_per_step
weight_decay = 0.1
epochs = 600
checkpoint = None  # file of weights for the backbone, to start from; None: from scratch

# Model and images.
arch = 'xxs'
head_channels = 448
drop_path_rate = 0.0
image_size = 224
with_cp = False  # blocks of each stage to recompute in the backward pass; True: all, to save memory

# The policy 'v0' of timm, which is that of EfficientNet on TPUs.
fill = dict(pad_val=[104, 116, 124], interpolation='bicubic')
equalize = dict(type='Equalize')
invert = dict(type='Invert')
contrast = dict(type='AutoContrast')
solarize = dict(type='Solarize')
solarize_add = dict(type='SolarizeAdd')
posterize = dict(type='Posterize')
color = dict(type='ColorTransform', random_negative_prob=0.0)
rotate = dict(type='Rotate', **fill)
shear_x = dict(type='Shear', direction='horizontal', **fill)
shear_y = dict(type='Shear', direction='vertical', **fill)
translate_y = dict(type='Translate', direction='vertical', **fill)
auto_augment = dict(
    type='AutoAugment',
    policies=[
        [dict(equalize, prob=0.8), dict(shear_y, magnitude=0.12, prob=0.8)],
        [dict(color, magnitude=0.72, prob=0.4), dict(equalize, prob=0.6)],
        [dict(color, magnitude=-0.72, prob=0.4), dict(rotate, angle=24, prob=0.6)],
        [dict(solarize, thr=76, prob=0.8), dict(equalize, prob=0.4)],
        [dict(solarize, thr=51, prob=0.4), dict(solarize, thr=51, prob=0.6)],
        [dict(color, magnitude=-0.9, prob=0.2), dict(equalize, prob=0.8)],
        [dict(equalize, prob=0.4), dict(solarize_add, magnitude=33, prob=0.8)],
        [dict(shear_x, magnitude=0.27, prob=0.2), dict(rotate, angle=24, prob=0.6)],
        [dict(color, magnitude=-0.72, prob=0.6), dict(equalize, prob=1.0)],
        [dict(invert, prob=0.4), dict(rotate, angle=0.0, prob=0.6)],
        [dict(equalize, prob=1.0), dict(shear_y, magnitude=0.09, prob=0.6)],
        [dict(color, magnitude=0.36, prob=0.4), dict(equalize, prob=0.6)],
        [dict(posterize, bits=2, prob=0.4), dict(contrast, prob=0.4)],
        [dict(solarize, thr=204, prob=0.6), dict(color, magnitude=0.72, prob=0.6)],
        [dict(solarize, thr=102, prob=0.2), dict(rotate, angle=27, prob=0.8)],
        [dict(rotate, angle=21, prob=1.0), dict(translate_y, magnitude=0.405, prob=0.8)],
        [dict(shear_x, magnitude=0.0, prob=0.0), dict(solarize, thr=102, prob=0.8)],
        [dict(shear_y, magnitude=0.0, prob=0.8), dict(color, magnitude=-0.18, prob=0.6)],
        [dict(color, magnitude=-0.9, prob=1.0), dict(rotate, angle=6, prob=0.6)],
        [dict(equalize, prob=0.8), dict(equalize, prob=0.0)],
        [dict(equalize, prob=1.0), dict(contrast, prob=0.6)],
        [dict(shear_y, magnitude=0.21, prob=0.4), dict(solarize_add, magnitude=77, prob=0.6)],
        [dict(posterize, bits=0, prob=0.8), dict(solarize, thr=256, prob=0.6)],
        [dict(solarize, thr=204, prob=0.6), dict(equalize, prob=0.6)],
        [dict(color, magnitude=0.18, prob=0.8), dict(rotate, angle=15, prob=0.4)],
    ],
)

# Body of light_imagenet: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm', 'vidtx_mm.heads.image_head'], allow_failed_imports=False)

# Gradients accumulate over as many batches as images_per_step needs.
accumulative_counts = max(1, round(images_per_step / (batch_size * gpus)))

mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=num_classes, mean=mean, std=std, to_rgb=True),
    backbone=dict(
        type='vidtx_mm.ImageUniFormerLight',
        arch=arch,
        final_norm=True,
        class_token=True,
        drop_path_rate=drop_path_rate,
        with_cp=with_cp,
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint) if checkpoint else None,
    ),
    head=dict(
        type='vidtx_mm.ImageTokenClsHead',
        num_classes=num_classes,
        in_channels=head_channels,
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    auto_augment,
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=mean[::-1],  # BGR
        fill_std=std[::-1],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=int(image_size * 256 / 224), edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]

loader = dict(batch_size=batch_size, num_workers=num_workers, persistent_workers=num_workers > 0)
train_dataloader = dict(
    loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=img_train,
        ann_file=ann_file_train,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, data_prefix=img_val, ann_file=ann_file_val, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5) if num_classes >= 5 else (1,))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type='OptimWrapper',  # full precision, as published
    constructor='vidtx_mm.TransformerOptimConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0, embed_decay_mult=0.0),
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=weight_decay),
    accumulative_counts=accumulative_counts,
)
warmup = min(30, epochs / 2)  # epochs
param_scheduler = [  # both hold from the first step on, and their rates multiply
    dict(type='LinearLR', start_factor=1e-6 / lr, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=1e-5, by_epoch=True, begin=0, end=epochs),
]
# --auto-scale-lr compares GPUs x batch_size with this, and does not count accumulative_counts.
auto_scale_lr = dict(enable=False, base_batch_size=images_per_step // accumulative_counts)

default_hooks = dict(
    checkpoint=dict(type='vidtx_mm.SafeCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'),
    logger=dict(interval=100),
)
custom_hooks = [
    dict(  # validates and tests both averaged and plain weights ('_origin'), as published
        type='EMAHook', momentum=1e-4, update_buffers=True, evaluate_on_ema=True, evaluate_on_origin=True
    ),
    dict(type='vidtx_mm.WeightInflationHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.ExactResumeHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
