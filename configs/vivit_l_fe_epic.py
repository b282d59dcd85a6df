"""ViViT-L/16x2, factorized encoder (model 2), on EPIC-Kitchens-100, nouns and verbs, from Kinetics-400.

Recipe: github.com/google-research/scenic, scenic/projects/vivit/configs/epic_kitchens/, ViViT-L model 2
Published: top-1 of the action 43.6 with 4 x 1 views (the README of that project);
    the paper: action 44.0, verb 66.4, noun 56.8.
    The official config starts from a Kinetics or an ImageNet checkpoint; which one gave 43.6 is not published.
Command: mim train mmaction vivit_l_fe_epic.py --launcher pytorch --gpus 8
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes clips_per_step. On one:
    mim train mmaction vivit_l_fe_epic.py --cfg-options gpus=1
    Mixed precision, which the published recipe does not use: --amp
    Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

# Your data, machine and schedule.
data_root = 'data/epic_kitchens100/videos'
data_root_val = 'data/epic_kitchens100/videos'
ann_file_train = 'data/epic_kitchens100/epic_kitchens100_train_list_videos.txt'  # lines: video noun verb
ann_file_val = 'data/epic_kitchens100/epic_kitchens100_val_list_videos.txt'
ann_file_test = ann_file_val
class_splits = [300, 97]  # nouns and verbs
classes = 'epic_kitchens100'  # a list of vidtx_mm.labels, a file with one name a line, or None
num_classes = 397  # of both
batch_size = 4  # clips of each GPU
gpus = 8
clips_per_step = 64  # accumulated over several batches if need be
num_workers = 8
lr = 0.5  # for clips_per_step
epochs = 50
checkpoint = 'https://storage.googleapis.com/scenic-bucket/vivit/kinetics_400/vivit_large_16x2_fe/checkpoint'

# Model and clips.
temporal_depth = 4  # blocks of the temporal encoder; loading checks that of a file

# Body of vivit_epic: the same in all configs of this group (tools/sync_configs.py).
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
        arch='large',
        attention='factorized_encoder',
        temporal_depth=temporal_depth,
        tubelet_size=(2, 16, 16),
        num_frames=32,
        img_size=224,
        drop_path_rate=0.2,
        drop_path_rescale=False,  # as published
        pool='cls',
        # The temporal encoder of the Kinetics file has another depth, so this one keeps its random initialization. To
        # load it too, leave out keep_init and set temporal_depth to that of the file, which the report names.
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

sampling = dict(type='vidtx_mm.SampleClips', protocol='vivit', clip_len=32, frame_interval=1)
packing = [dict(type='FormatShape', input_format='NCTHW'), dict(type='PackActionInputs')]
train_pipeline = [
    dict(type='vidtx_mm.VideoInit'),
    sampling,
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=256, truncate=True),
    dict(type='vidtx_mm.ScaleJitter', scale_range=(0.9, 1.33)),
    dict(type='RandomCrop', size=224),
    dict(type='Flip', flip_ratio=0.5),
    dict(type='vidtx_mm.RandAugment', policy='pixelwise', magnitude=15, num_ops=2),
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
test_pipeline = [  # 4 x 1 views
    dict(type='vidtx_mm.VideoInit'),
    dict(sampling, num_clips=4, test_mode=True),
    dict(type='vidtx_mm.VideoDecode'),
    dict(type='vidtx_mm.ResizeShortSide', size=256, truncate=True),
    dict(type='CenterCrop', crop_size=224),
    *packing,
]

dataset = dict(type='vidtx_mm.VideoListDataset', class_splits=class_splits, classes=classes)
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
    batch_size=1,  # 4 views, in chunks that fit in memory; to fix their size: model.test_cfg.max_testing_views=2
    dataset=dict(val_dataloader['dataset'], ann_file=ann_file_test, pipeline=test_pipeline),
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
