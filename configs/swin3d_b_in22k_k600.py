"""Video Swin-B on Kinetics-600, from ImageNet-22K weights.

Recipe: github.com/SwinTransformer/Video-Swin-Transformer, configs/recognition/swin/
    swin_base_patch244_window877_kinetics600_22k.py
Published: top-1 84.0, top-5 96.5 with 4 x 3 views; 88.3M parameters, 281.6G multiply-adds a view
    (the README of that repository).
Command: mim train mmaction swin3d_b_in22k_k600.py --launcher pytorch --gpus 8 --amp
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes clips_per_step. On one:
    mim train mmaction swin3d_b_in22k_k600.py --amp --cfg-options gpus=1
    No GPU: leave out --amp.  Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

# Your data, machine and schedule.
data_root = 'data/kinetics600/videos_train'
data_root_val = 'data/kinetics600/videos_val'
ann_file_train = 'data/kinetics600/kinetics600_train_list_videos.txt'  # lines: video class
ann_file_val = 'data/kinetics600/kinetics600_val_list_videos.txt'
ann_file_test = ann_file_val
num_classes = 600
classes = 'kinetics600'  # a list of vidtx_mm.labels, a file with one name a line, or None
batch_size = 8  # clips of each GPU
gpus = 8
clips_per_step = 64  # accumulated over several batches if need be
num_workers = 8
lr = 3e-4  # of the head, for clips_per_step; the backbone takes a tenth
weight_decay = 0.05
epochs = 30
checkpoint = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_base_patch4_window7_224_22k.pth'

# Model and clips.
arch = 'base'
attention = 'joint'
shift = 'space_time'
window_size = (8, 7, 7)
drop_path_rate = 0.2
head_channels = 1024
short_side = 256
crop_size = 224

# Body of swin3d_kinetics: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# Gradients accumulate over as many batches as a step of clips_per_step needs.
accumulative_counts = max(1, round(clips_per_step / (batch_size * gpus)))

mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
model = dict(
    type='vidtx_mm.VideoRecognizer',
    backbone=dict(
        type='vidtx_mm.VideoSwin',
        arch=arch,
        attention=attention,
        shift=shift,
        patch_size=(2, 4, 4),
        window_size=window_size,
        drop_path_rate=drop_path_rate,
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint, inflate='mean'),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoClsHead',
        in_channels=head_channels,
        num_classes=num_classes,
        pool='avg',
        dropout_ratio=0.5,
        average_clips='prob',
    ),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=mean, std=std, format_shape='NCTHW'),
)

sampling = dict(type='vidtx_mm.SampleClips', protocol='video_swin', clip_len=32, frame_interval=2)
packing = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
train_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    sampling,
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='Resize', scale=(-1, short_side)),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(crop_size, crop_size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    *packing,
]
val_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='Resize', scale=(-1, short_side)),
    dict(type='CenterCrop', crop_size=crop_size),
    *packing,
]
test_pipeline = [  # 4 x 3 views
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, num_clips=4, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='Resize', scale=(-1, crop_size)),
    dict(type='ThreeCrop', crop_size=crop_size),
    *packing,
]

dataset = dict(type='vidtx_mm.VideoListDataset', num_classes=num_classes, classes=classes)
loader = dict(batch_size=batch_size, num_workers=num_workers, persistent_workers=num_workers > 0)
train_dataloader = dict(
    loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        dataset,
        ann_file=ann_file_train,
        data_prefix=dict(video=data_root),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        dataset, ann_file=ann_file_val, data_prefix=dict(video=data_root_val), pipeline=val_pipeline, test_mode=True
    ),
)
test_dataloader = dict(
    val_dataloader,
    batch_size=1,  # 12 views, in chunks that fit in memory; to fix their size: model.test_cfg.max_testing_views=2
    dataset=dict(val_dataloader['dataset'], ann_file=ann_file_test, pipeline=test_pipeline),
)
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',  # --amp makes it mixed precision
    constructor='vidtx_mm.TransformerOptimConstructor',
    paramwise_cfg=dict(backbone_lr_mult=0.1, norm_decay_mult=0.0, embed_decay_mult=0.0),
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=weight_decay),
    accumulative_counts=accumulative_counts,
)
warmup = min(2.5, epochs / 2)  # epochs
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=0, by_epoch=True, begin=0, end=epochs),
]
# --auto-scale-lr compares GPUs x batch_size with this, and does not count accumulative_counts.
auto_scale_lr = dict(enable=False, base_batch_size=clips_per_step // accumulative_counts)
# Of several processes; gradients live in the buffers that are reduced, which saves their size in memory.
model_wrapper_cfg = dict(type='MMDistributedDataParallel', broadcast_buffers=False, gradient_as_bucket_view=True)

default_hooks = dict(
    checkpoint=dict(type='vidtx_mm.SafeCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'),
    logger=dict(interval=100),
)
custom_hooks = [
    dict(type='vidtx_mm.WeightInflationHook'),
    dict(type='vidtx_mm.UnreadableVideosHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.ExactResumeHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
