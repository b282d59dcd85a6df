"""UniFormer-XS on Kinetics-400, 32 frames of 192 x 192, from ImageNet-1K weights.

Recipe: github.com/Sense-X/UniFormer, video_classification/exp_light/uniformer_xs32_192_k400
Published: top-1 78.6 with 1 x 1 views; 16.1M parameters, 34.2G multiply-adds a view
    (the README there; tools/complexity.py counts 33.8G).
    In full precision, as published: without --amp. The frames are believed to be those of UniformSample, since the
    published code calls a function that it does not define.
    The ImageNet weights: the file of 192 x 192 pixels linked in that repository's image_classification/README.md.
Command: mim train mmaction uniformer_xs_k400.py --launcher pytorch --gpus 8
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes clips_per_step. On one:
    mim train mmaction uniformer_xs_k400.py --cfg-options gpus=1
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
batch_size = 16  # videos of each GPU, each of them twice
gpus = 8
clips_per_step = 256  # 128 videos, each twice; accumulated over several batches if need be
num_workers = 8
lr = 4e-4  # for clips_per_step
weight_decay = 0.05
epochs = 110
checkpoint = 'https://drive.google.com/file/d/1Ce2Dk9-k_-sHt5dXp-gfNOEK37Jdcffv'  # opens in a browser only

# Model and clips.
arch = 'xs'
drop_path_rate = 0.1
head_channels = 512
clip_len = 32
crop_size = 192
rand_augment = dict(policy='increasing', magnitude=7, num_ops=4, magnitude_std=0.5)

# Body of uniformer_light_kinetics: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmaction::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

num_repeats = 2  # of each video in a batch
# Gradients accumulate over as many batches as a step of clips_per_step needs.
accumulative_counts = max(1, round(clips_per_step / (num_repeats * batch_size * gpus)))

mean = [114.75, 114.75, 114.75]
std = [57.375, 57.375, 57.375]
model = dict(
    type='vidtx_mm.VideoRecognizer',
    backbone=dict(
        type='vidtx_mm.VideoUniFormerLight',
        arch=arch,
        drop_path_rate=drop_path_rate,
        class_token=True,
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint, inflate='mean'),
    ),
    cls_head=dict(
        type='vidtx_mm.VideoTokenClsHead',
        in_channels=head_channels,
        num_classes=num_classes,
        pool='avg',
        dropout_ratio=0.0,
        init_std=0.02,
        label_smooth_eps=0.1,
        average_clips='score',
    ),
    data_preprocessor=dict(
        type='ActionDataPreprocessor',
        mean=mean,
        std=std,
        format_shape='NCTHW',
        blending=dict(
            type='RandomBatchAugment',
            probs=[0.5, 0.5],
            augments=[
                dict(type='MixupBlending', alpha=0.8, num_classes=num_classes),
                dict(type='CutmixBlending', alpha=1.0, num_classes=num_classes),
            ],
        ),
    ),
)

sampling = dict(type='UniformSample', clip_len=clip_len)
packing = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
train_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    sampling,
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=320),
    dict(type='vidtx_mm.RandAugment', **rand_augment),
    dict(type='RandomResizedCrop'),
    dict(type='Resize', scale=(crop_size, crop_size), keep_ratio=False),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='vidtx_mm.NormalizedErasing', mean=mean, std=std, erase_prob=0.25, mode='rand'),
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
test_pipeline = val_pipeline  # 1 x 1 views

dataset = dict(type='vidtx_mm.VideoListDataset', num_classes=num_classes, classes=classes)
loader = dict(batch_size=batch_size, num_workers=num_workers, persistent_workers=num_workers > 0)
train_dataloader = dict(
    loader,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='repeat_pseudo_collate'),
    dataset=dict(
        dataset,
        ann_file=ann_file_train,
        data_prefix=dict(video=data_root),
        num_repeats=num_repeats,
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
    dataset=dict(val_dataloader['dataset'], ann_file=ann_file_test, pipeline=test_pipeline),
)
val_evaluator = dict(type='AccMetric')
test_evaluator = val_evaluator

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_begin=1, val_interval=1)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',  # full precision, as published
    constructor='vidtx_mm.TransformerOptimConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=weight_decay),
    clip_grad=dict(max_norm=20),
    accumulative_counts=accumulative_counts,
)
warmup = min(10, epochs / 2)  # epochs
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6 / lr, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        T_max=epochs - warmup,
        eta_min=1e-6,
        by_epoch=True,
        begin=warmup,
        end=epochs,
        convert_to_iter_based=True,
    ),
]
# --auto-scale-lr compares GPUs x batch_size with this, and counts neither accumulative_counts nor num_repeats.
auto_scale_lr = dict(enable=False, base_batch_size=clips_per_step // (num_repeats * accumulative_counts))
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
