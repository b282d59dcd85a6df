"""Semantic FPN with UniFormer-XXS on ADE20K, 80,000 iterations, from ImageNet-1K weights.

Recipe: github.com/Sense-X/UniFormer, semantic_segmentation/fpn_seg/exp_light/fpn_xxs
Published: mIoU 42.3; 13.5M parameters (README of that folder).
Command: mim train mmsegmentation fpn_uniformer_xxs_ade20k.py --launcher pytorch --gpus 8
    On N GPUs: --gpus N --cfg-options gpus=N: gradients accumulate, and iterations count accordingly.
    Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

# Your data, machine and schedule.
data_root = 'data/ade/ADEChallengeData2016/'
img_train = 'images/training'  # this and the next three below data_root
seg_train = 'annotations/training'
img_val = 'images/validation'
seg_val = 'annotations/validation'
dataset_type = 'ADE20KDataset'  # your own classes: 'BaseSegDataset' with a metainfo
metainfo = None  # of ADE20K; your own: dict(classes=('road', 'car'), palette=[[128, 64, 128], [0, 0, 142]])
reduce_zero_label = True  # label 0 is ignored and label 1 is class 0; False: label 0 is class 0
num_classes = 150
batch_size = 4  # of each GPU
gpus = 8
images_per_step = 32  # accumulated over several batches if need be
num_workers = 4
lr = 2e-4  # for images_per_step
iterations = 80_000
interval = 4_000  # from one validation and checkpoint to the next
checkpoint = 'https://drive.google.com/file/d/1Cw9r_3c30N-esFI8RFYa6rQXJrr1rAHY'  # opens in a browser only
crop_size = (512, 512)
test_scale = (2048, 512)  # longest and shortest side

# Model.
arch = 'xxs'
embed_dims = [56, 112, 224, 448]
drop_path_rate = 0.0
with_cp = False  # blocks of each stage to recompute in the backward pass; True: all, to save memory

# Body of light_fpn_ade20k: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmseg::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# Gradients accumulate over as many batches as images_per_step needs. A batch is an iteration of the runner.
accumulative_counts = max(1, round(images_per_step / (batch_size * gpus)))
max_iters = iterations * accumulative_counts
val_interval = interval * accumulative_counts

model = dict(
    type='EncoderDecoder',
    data_preprocessor=dict(
        type='SegDataPreProcessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_val=0,
        seg_pad_val=255,
        size=crop_size,
    ),
    backbone=dict(
        type='vidtx_mm.ImageUniFormerLight',
        arch=arch,
        drop_path_rate=drop_path_rate,
        with_cp=with_cp,
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint),
    ),
    neck=dict(type='FPN', in_channels=embed_dims, out_channels=256, num_outs=4, init_cfg=None),
    decode_head=dict(
        type='FPNHead',
        in_channels=[256, 256, 256, 256],
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=128,
        dropout_ratio=0.1,
        num_classes=num_classes,
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode='whole'),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations'),
    dict(type='vidtx_mm.CheckLabelMap', num_classes=num_classes),
    dict(type='RandomResize', scale=test_scale, ratio_range=(0.5, 2.0), keep_ratio=True),
    dict(type='RandomCrop', crop_size=crop_size, cat_max_ratio=0.75),
    dict(type='RandomFlip', prob=0.5),
    dict(type='PhotoMetricDistortion'),
    dict(type='PackSegInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=test_scale, keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='InfiniteSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path=img_train, seg_map_path=seg_train),
        metainfo=metainfo,
        reduce_zero_label=reduce_zero_label,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=dict(img_path=img_val, seg_map_path=seg_val),
        metainfo=metainfo,
        reduce_zero_label=reduce_zero_label,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='IoUMetric', iou_metrics=['mIoU'])
test_evaluator = val_evaluator

train_cfg = dict(type='IterBasedTrainLoop', max_iters=max_iters, val_interval=val_interval)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',  # --amp makes it mixed precision
    accumulative_counts=accumulative_counts,
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=1e-4),  # on all parameters, as published
)
param_scheduler = [  # both hold from the first iteration on; their rates multiply, as published
    dict(
        type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=min(1000 * accumulative_counts + 1, max_iters)
    ),
    dict(type='CosineAnnealingLR', T_max=max_iters, eta_min=lr * 1e-8, by_epoch=False, begin=0, end=max_iters),
]
auto_scale_lr = dict(enable=False, base_batch_size=gpus * batch_size)

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50, log_metric_by_epoch=False),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='vidtx_mm.SafeCheckpointHook', by_epoch=False, interval=val_interval, max_keep_ckpts=3, save_best='mIoU'
    ),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    visualization=dict(type='SegVisualizationHook', interval=1),  # with --show-dir
)
custom_hooks = [
    dict(type='vidtx_mm.WeightInflationHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.ExactResumeHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
