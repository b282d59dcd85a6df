"""A small Video Swin that learns motion from scratch on two CPU cores: eight classes of moving shapes.

Data: python tools/make_shapes.py data/shapes (1,024 clips to train, 128 to choose the epoch, 256 to test). No single
    frame tells the class.
Recipe: this project's own; nothing is pretrained.
Result: see docs/benchmarks.md.
Command: mim train mmaction configs/demo/swin3d_shapes.py
    All in one, with pictures: make demo. From another folder: write the absolute path into data_root below.
"""

_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# Your data and schedule.
data_root = 'data/shapes'
ann_file_train = f'{data_root}/train.txt'  # lines: video class
ann_file_val = f'{data_root}/val.txt'
ann_file_test = f'{data_root}/test.txt'
num_classes = 8
classes = ['left', 'right', 'up', 'down', 'clockwise', 'counterclockwise', 'growing', 'shrinking']
batch_size = 16
num_workers = 1  # decodes on the side what two cores train on
lr = 1e-3
epochs = 24

model = dict(
    type='vidtx_mm.VideoRecognizer',
    backbone=dict(
        type='vidtx_mm.VideoSwin',
        arch=dict(embed_dims=48, depths=[2, 2], num_heads=[3, 6]),
        patch_size=(2, 4, 4),  # 8 frames of 32 x 32: 4 x 8 x 8 tokens, then 4 x 4 x 4
        window_size=(4, 4, 4),
        drop_path_rate=0.0,
        out_indices=(1,),
        # The usual standard deviation of 0.02 is for layers ten times as wide: with it the two circles, which differ in
        # nothing but the order of directions, stay mixed up for twice as many epochs.
        init_cfg=dict(type='Xavier', layer='Linear', distribution='normal'),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoClsHead',
        in_channels=96,
        num_classes=num_classes,
        pool='avg',
        dropout_ratio=0.0,
        average_clips='prob',
        topk=(1,),
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor', mean=[60.0, 60.0, 60.0], std=[60.0, 60.0, 60.0], format_shape='NCTHW'
    ),
)

train_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1),
    dict(type='vidtx_mm.VideoDecode'),
    # A mirror image is another class: left and right, up and down, and both times the sense of the circle change.
    dict(type='Flip', flip_ratio=0.5, direction='horizontal', flip_label_map={0: 1, 1: 0, 4: 5, 5: 4}),
    dict(type='Flip', flip_ratio=0.5, direction='vertical', flip_label_map={2: 3, 3: 2, 4: 5, 5: 4}),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(type='SampleFrames', clip_len=8, frame_interval=1, num_clips=1, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_pipeline = val_pipeline

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='vidtx_mm.VideoListDataset',
        ann_file=ann_file_train,
        data_prefix=dict(video=data_root),
        num_classes=num_classes,
        classes=classes,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='vidtx_mm.VideoListDataset',
        ann_file=ann_file_val,
        data_prefix=dict(video=data_root),
        num_classes=num_classes,
        classes=classes,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=64,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='vidtx_mm.VideoListDataset',
        ann_file=ann_file_test,
        data_prefix=dict(video=data_root),
        num_classes=num_classes,
        classes=classes,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(
    type='AccMetric', metric_list=('top_k_accuracy',), metric_options=dict(top_k_accuracy=dict(topk=(1,)))
)
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',
    constructor='vidtx_mm.TransformerOptimConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, embed_decay_mult=0.0),
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.05),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='OneCycleLR', eta_max=lr, total_steps=epochs, by_epoch=True, convert_to_iter_based=True),
]
randomness = dict(seed=0)

default_hooks = dict(
    checkpoint=dict(
        type='vidtx_mm.SafeCheckpointHook', interval=1, max_keep_ckpts=1, save_best='acc/top1', rule='greater'
    ),
    logger=dict(interval=32),
)
custom_hooks = [
    dict(type='vidtx_mm.UnreadableVideosHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
