"""ViViT-B/16x4 (model 1, tubelets of 4 frames, 1,568 tokens) on Kinetics-400, from an image ViT (ImageNet-21K).

Recipe: arXiv 2103.15691, section 4 and table 7
Published: not as a number: the paper draws it in figure 8.
Command: mim train mmaction vivit_b_16x4_k400.py --launcher pytorch --gpus 8
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes clips_per_step. On one:
    mim train mmaction vivit_b_16x4_k400.py --cfg-options gpus=1
    Mixed precision, which the published recipe does not use: --amp
    Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

# Your data, machine and schedule.
data_root = 'data/kinetics400/videos_train'
data_root_val = 'data/kinetics400/videos_val'
ann_file_train = 'data/kinetics400/kinetics400_train_list_videos.txt'  # lines: video class
ann_file_val = 'data/kinetics400/kinetics400_val_list_videos.txt'
ann_file_test = ann_file_val
num_classes = 400
classes = 'kinetics400'  # a list of vidtx_mm.labels, a file with one name a line, or None
batch_size = 8  # clips of each GPU
gpus = 8
clips_per_step = 64  # accumulated over several batches if need be
num_workers = 8
lr = 0.1  # for clips_per_step
epochs = 30
checkpoint = 'https://storage.googleapis.com/vit_models/imagenet21k/ViT-B_16.npz'

# Model and clips.
arch = 'base'
attention = 'joint'
order = 'space_first'  # of factorized_self_attention
temporal_depth = 4  # blocks of the temporal encoder of factorized_encoder
tubelet_size = (4, 16, 16)
pool = 'cls'
head_channels = 768

# Body of vivit_kinetics: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# Gradients accumulate over as many batches as a step of clips_per_step needs.
accumulative_counts = max(1, round(clips_per_step / (batch_size * gpus)))

mean = [127.5, 127.5, 127.5]  # pixels / 127.5 - 1, the input of the published weights
std = [127.5, 127.5, 127.5]
model = dict(
    type='vidtx_mm.VideoRecognizer',
    backbone=dict(
        type='vidtx_mm.ViViT',
        arch=arch,
        attention=attention,
        order=order,
        temporal_depth=temporal_depth,
        tubelet_size=tubelet_size,
        num_frames=32,
        img_size=224,
        pool=pool,
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoClsHead',
        in_channels=head_channels,
        num_classes=num_classes,
        pool='none',
        dropout_ratio=0.0,
        init_std=0.0,
        average_clips='score',
    ),
    data_preprocessor=dict(type='ActionDataPreprocessor', mean=mean, std=std, format_shape='NCTHW'),
)

# The official config counts 250 frames a video: 10 s, 25 per second. At other rates a clip has another length in time.
sampling = dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=32, frame_interval=2)
packing = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
train_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    sampling,
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=256, truncate=True),
    dict(type='vidtx_mm.ScaleJitter', scale_range=(0.9, 1.33)),
    dict(type='RandomCrop', size=224),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='vidtx_mm.ClipColorJitter'),
    *packing,
]
val_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=256, truncate=True),
    dict(type='CenterCrop', crop_size=224),
    *packing,
]
test_pipeline = [  # 4 x 3 views
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, num_clips=4, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=256, truncate=True),
    dict(type='vidtx_mm.UniformCrop', crop_size=224, num_crops=3),
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
    paramwise_cfg=dict(),
    optimizer=dict(type='SGD', lr=lr, momentum=0.9, weight_decay=0.0),
    clip_grad=dict(max_norm=1.0),
    accumulative_counts=accumulative_counts,
)
warmup = min(2.5, epochs / 2)  # epochs
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-4, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=epochs - warmup,
        eta_min=0,
        by_epoch=True,
        begin=warmup,
        end=epochs,
        convert_to_iter_based=True,
    ),
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
