"""The control of timesformer_shapes.py: the same TimeSformer without attention over time, which cannot see motion.

Data: python tools/make_shapes.py data/shapes (1,024 clips to train, 128 to choose the epoch, 256 to test). No single
    frame tells the class.
Recipe: this project's own; nothing is pretrained.
Result: see docs/timesformer.md.
Command: mim train mmaction configs/demo/timesformer_space_shapes.py
    From another folder: write the absolute path into data_root below.
"""

# Your data and schedule.
data_root = 'data/shapes'
ann_file_train = f'{data_root}/train.txt'  # lines: video class
ann_file_val = f'{data_root}/val.txt'
ann_file_test = f'{data_root}/test.txt'
num_classes = 8
classes = ['left', 'right', 'up', 'down', 'clockwise', 'counterclockwise', 'growing', 'shrinking']
batch_size = 16
num_workers = 1  # decodes on the side what two cores train on
lr = 2e-3
epochs = 100
attention = 'space'  # the frames apart: what moves cannot be told

# Body of demo_timesformer: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

model = dict(
    type='vidtx_mm.VideoRecognizer',
    backbone=dict(
        type='vidtx_mm.VideoTimeSformer',
        arch=dict(embed_dims=64, depth=3, num_heads=4),
        attention=attention,
        num_frames=4,
        img_size=32,
        patch_size=8,  # 4 frames of 32 x 32: 4 x 4 x 4 tokens
        drop_path_rate=0.0,
        pool='avg',
        # The usual standard deviation of 0.02 is for layers eight times as wide: with it this one learns far slower.
        init_cfg=dict(type='Xavier', layer='Linear', distribution='normal'),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoClsHead',
        in_channels=64,
        num_classes=num_classes,
        pool='none',
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
    dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1),
    dict(type='vidtx_mm.VideoDecode'),
    # A mirror image is another class: left and right, up and down, and both times the sense of the circle change.
    dict(type='Flip', flip_ratio=0.5, direction='horizontal', flip_label_map={0: 1, 1: 0, 4: 5, 5: 4}),
    dict(type='Flip', flip_ratio=0.5, direction='vertical', flip_label_map={2: 3, 3: 2, 4: 5, 5: 4}),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(type='SampleFrames', clip_len=4, frame_interval=2, num_clips=1, test_mode=True),
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

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_begin=1, val_interval=2)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

# The tables start near zero, where a patch says much of its colors and little of its place and time.
embedding = dict(lr_mult=20.0, decay_mult=0.0)
optim_wrapper = dict(
    type='OptimWrapper',
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys=dict(pos_embed=embedding, time_embed=embedding)),
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.01),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.04, begin=0, end=20, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=0.0, begin=20, end=epochs, by_epoch=True, convert_to_iter_based=True),
]
randomness = dict(seed=0)

default_hooks = dict(
    checkpoint=dict(
        type='vidtx_mm.SafeCheckpointHook', interval=2, max_keep_ckpts=1, save_best='acc/top1', rule='greater'
    ),
    logger=dict(interval=64),
)
custom_hooks = [
    dict(type='vidtx_mm.UnreadableVideosHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
