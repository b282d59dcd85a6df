"""TimeSformer-L, 64 frames, on Something-Something v2, from an image ViT (ImageNet-21K, then 1K).

Recipe: arXiv 2102.05095, section 4 and appendix; github.com/facebookresearch/TimeSformer, configs/SSv2
Published: top-1 62.0, top-5 87.5 with 1 x 3 views (the README of that repository);
    121.4M parameters.
    No flip, since classes distinguish left and right. BGR frames, as the official reader returns.
Command: mim train mmaction timesformer_l_ssv2.py --launcher pytorch --gpus 8
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes clips_per_step. On one:
    mim train mmaction timesformer_l_ssv2.py --cfg-options gpus=1
    Mixed precision, which the published recipe does not use: --amp
    Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

# Your data, machine and schedule.
data_root = 'data/sthv2/videos'
data_root_val = 'data/sthv2/videos'
ann_file_train = 'data/sthv2/sthv2_train_list_videos.txt'  # lines: video class
ann_file_val = 'data/sthv2/sthv2_val_list_videos.txt'
ann_file_test = ann_file_val
num_classes = 174
classes = 'sthv2'  # a list of vidtx_mm.labels, a file with one name a line, or None
batch_size = 1  # clips of each GPU
gpus = 8
clips_per_step = 64  # accumulated over several batches if need be
num_workers = 8
lr = 0.005  # for clips_per_step
epochs = 15
checkpoint = (
    'https://github.com/rwightman/pytorch-image-models/releases/download/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth'
)

# Model and clips.
clip_len = 64
short_sides = (256, 320)
crop_size = 224
virtual_fps = 30  # of the images that the published models sample from; None: the frames of the video

# Body of timesformer_ssv2: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# Gradients accumulate over as many batches as a step of clips_per_step needs.
accumulative_counts = max(1, round(clips_per_step / (batch_size * gpus)))

mean = [114.75, 114.75, 114.75]
std = [57.375, 57.375, 57.375]
model = dict(
    type='vidtx_mm.VideoRecognizer',
    backbone=dict(
        type='vidtx_mm.VideoTimeSformer',
        arch='base',
        attention='divided',
        num_frames=clip_len,
        img_size=crop_size,
        patch_size=16,
        drop_path_rate=0.1,
        pool='cls',
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoClsHead',
        in_channels=768,
        num_classes=num_classes,
        pool='none',
        dropout_ratio=0.0,
        init_std=0.02,
        average_clips='score',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=mean,
        std=std,
        to_rgb=True,  # swaps the channels of the decoders: BGR
        format_shape='NCTHW',
    ),
)

sampling = dict(type='vidtx_mm.SampleSegments', protocol='timesformer', clip_len=clip_len, virtual_fps=virtual_fps)
packing = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
train_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    sampling,
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.RandomShortSide', scale_range=short_sides, inverse=True),
    dict(type='RandomCrop', size=crop_size),
    *packing,
]
val_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=crop_size),
    dict(type='vidtx_mm.UniformCrop', crop_size=crop_size, num_crops=1),
    *packing,
]
test_pipeline = [  # 1 x 3 views
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=crop_size),
    dict(type='vidtx_mm.UniformCrop', crop_size=crop_size, num_crops=3),
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
    batch_size=1,  # 3 views, in chunks that fit in memory; to fix their size: model.test_cfg.max_testing_views=1
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
    paramwise_cfg=dict(),  # everything decays
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4),
    accumulative_counts=accumulative_counts,
)
param_scheduler = [
    dict(type='MultiStepLR', milestones=[11, 14], gamma=0.1, by_epoch=True, begin=0, end=epochs),
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
