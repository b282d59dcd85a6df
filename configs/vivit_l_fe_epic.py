"""ViViT-L/16x2, factorized encoder (model 2), on EPIC-Kitchens-100, nouns and verbs, from Kinetics-400.

Recipe: github.com/google-research/scenic, scenic/projects/vivit/configs/epic_kitchens/vivit_large_factorised_encoder.py
Published: top-1 of the action 43.6 with 4 x 1 views (the README of that project);
    the paper: action 44.0, verb 66.4, noun 56.8.
Command: mim train mmaction vivit_l_fe_epic.py --launcher pytorch --gpus 8
        --cfg-options optim_wrapper.accumulative_counts=2
    One GPU: mim train mmaction vivit_l_fe_epic.py --cfg-options optim_wrapper.accumulative_counts=16
    Mixed precision, which the published recipe does not use: --amp
    Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# What you will want to change.
data_root = 'data/epic_kitchens100/videos'
data_root_val = 'data/epic_kitchens100/videos'
ann_file_train = 'data/epic_kitchens100/epic_kitchens100_train_list_videos.txt'  # lines: video noun verb
ann_file_val = 'data/epic_kitchens100/epic_kitchens100_val_list_videos.txt'
ann_file_test = ann_file_val
class_splits = [300, 97]  # nouns and verbs
num_classes = 397  # of both
batch_size = 4  # of each GPU; a step takes 64 clips in all
num_workers = 8
lr = 0.5  # for 64 clips a step
epochs = 50
temporal_depth = 4  # blocks of the temporal encoder; loading tells where a file has more
checkpoint = 'https://storage.googleapis.com/scenic-bucket/vivit/kinetics_400/vivit_large_16x2_fe/checkpoint'

mean = [127.5, 127.5, 127.5]  # pixels / 127.5 - 1: what the published weights take
std = [127.5, 127.5, 127.5]

model = dict(
    type='Recognizer3D',
    backbone=dict(
        type='vidtx_mm.ViViT',
        arch=dict(embed_dims=1024, depth=24, num_heads=16),
        attention='factorized_encoder',
        temporal_depth=temporal_depth,
        tubelet_size=(2, 16, 16),
        num_frames=32,
        img_size=224,
        drop_path_rate=0.2,
        drop_path_rescale=False,  # as published
        pool='cls',
        # The temporal encoder of the Kinetics file has another depth, so this one starts afresh. To take it too, leave
        # fresh out and set temporal_depth to that of the file (loading tells it).
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint, keep_init='temporal_.+'),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoMultiClsHead',
        in_channels=1024,
        class_splits=class_splits,
        pool='none',
        dropout_ratio=0.0,
        init_std=0.0,
        label_smooth_eps=0.2,
        average_clips='score',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=mean,
        std=std,
        format_shape='NCTHW',
        blending=dict(type='MixupBlending', num_classes=num_classes, alpha=0.1),
    ),
)

train_pipeline = [
    dict(type='DecordInit'),
    dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=32, frame_interval=1),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='vidtx_mm.ScaleJitter', scale_range=(0.9, 1.33)),
    dict(type='RandomCrop', size=224),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='vidtx_mm.RandAugment', policy='pixelwise', magnitude=15, num_ops=2),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
val_pipeline = [
    dict(type='DecordInit'),
    dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=32, frame_interval=1, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='vidtx_mm.UniformCrop', crop_size=224, num_crops=1),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]
test_pipeline = [  # 4 x 1 views
    dict(type='DecordInit'),
    dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=32, frame_interval=1, num_clips=4, test_mode=True),
    dict(type='DecordDecode'),
    dict(type='Resize', scale=(-1, 256)),
    dict(type='vidtx_mm.UniformCrop', crop_size=224, num_crops=1),
    dict(type='FormatShape', input_format='NCTHW'),
    dict(type='PackActionInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='vidtx_mm.VideoListDataset',
        ann_file=ann_file_train,
        data_prefix=dict(video=data_root),
        class_splits=class_splits,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='vidtx_mm.VideoListDataset',
        ann_file=ann_file_val,
        data_prefix=dict(video=data_root_val),
        class_splits=class_splits,
        pipeline=val_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=1,  # 4 views; if they need too much memory: model.test_cfg.max_testing_views=2
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='vidtx_mm.VideoListDataset',
        ann_file=ann_file_test,
        data_prefix=dict(video=data_root_val),
        class_splits=class_splits,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
val_evaluator = dict(type='vidtx_mm.MultiHeadAccuracy', class_splits=class_splits, names=['noun', 'verb'])
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',  # --amp makes it mixed precision
    constructor='vidtx_mm.TransformerOptimConstructor',
    paramwise_cfg=dict(),
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=2.5, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=epochs - 2.5,
        eta_min=0,
        by_epoch=True,
        begin=2.5,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
auto_scale_lr = dict(enable=False, base_batch_size=64)  # --auto-scale-lr counts GPUs x batch_size, not accumulation

default_hooks = dict(checkpoint=dict(interval=1, max_keep_ckpts=3, save_best='auto'), logger=dict(interval=100))
custom_hooks = [dict(type='vidtx_mm.WeightInflationHook')]
