"""UniFormer-B with a heatmap head for human pose on COCO, top-down at 384 x 288 pixels, from ImageNet-1K weights.

Recipe: github.com/Sense-X/UniFormer, pose_estimation/exp/top_down_384x288_global_base/config.py
Published: AP 76.7, AR 81.9 on val2017 with the usual detected boxes; 53.5M parameters, 22.1G multiply-adds by our count
    (the README of that repository, where AR is 81.4, and MMPose's test of the weights, projects/uniformer).
Command: mim train mmpose td-hm_uniformer_b_384x288_coco.py --launcher pytorch --gpus 8 --amp
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes persons_per_step. On one:
    mim train mmpose td-hm_uniformer_b_384x288_coco.py --amp --cfg-options gpus=1
    No GPU: leave out --amp.  Without the file of weights: --cfg-options model.backbone.init_cfg=None
"""

# Your data, machine and schedule.
data_root = 'data/coco/'
ann_file_train = 'annotations/person_keypoints_train2017.json'  # this and the next four below data_root
ann_file_val = 'annotations/person_keypoints_val2017.json'
img_train = 'train2017/'
img_val = 'val2017/'
bbox_file = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'  # None: the annotated boxes
metainfo = None  # COCO's 17 keypoints; your own: dict(from_file='my_keypoints.py')
num_keypoints = 17
batch_size = 32  # persons of each GPU
gpus = 8
persons_per_step = 256  # accumulated over several batches if need be
num_workers = 8
lr = 5e-4  # for persons_per_step
epochs = 210
steps = [170, 200]  # the epochs after which the rate falls to a tenth
checkpoint = 'https://huggingface.co/Sense-X/uniformer_image/resolve/main/uniformer_base_in1k.pth'

# Model.
arch = 'base'
drop_path_rate = 0.5
codec = dict(type='MSRAHeatmap', input_size=(288, 384), heatmap_size=(72, 96), sigma=3)

# Body of pose_heatmap: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmpose::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm'], allow_failed_imports=False)

# Gradients accumulate over as many batches as a step of persons_per_step needs.
accumulative_counts = max(1, round(persons_per_step / (batch_size * gpus)))

dataset_type = 'CocoDataset'  # mmpose's inferencers look for this name and the next
data_mode = 'topdown'

model = dict(
    type='TopdownPoseEstimator',
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type='vidtx_mm.ImageUniFormer',
        arch=arch,
        stage3='global',
        drop_path_rate=drop_path_rate,
        out_indices=(0, 1, 2, 3),  # as the published files; the head takes the last map alone
        norm_eval=False,  # as published; the authors later found that freezing the BatchNorms (True) does better
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint),
    ),
    head=dict(
        type='HeatmapHead',
        in_channels=512,
        out_channels=num_keypoints,
        deconv_out_channels=(256, 256, 256),
        deconv_kernel_sizes=(4, 4, 4),
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec,
    ),
    test_cfg=dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True),
)
find_unused_parameters = True  # norm1 to norm3 of the backbone, of maps that the head does not take

train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody', min_total_keypoints=9, prob=0.3),
    dict(type='vidtx_mm.RandomScaleRotation', scale_factor=0.5, rotate_factor=40, rotate_prob=0.6),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]

train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type=dataset_type,
        data_mode=data_mode,
        data_root=data_root,
        ann_file=ann_file_train,
        data_prefix=dict(img=img_train),
        metainfo=metainfo,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    drop_last=False,
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
    dataset=dict(
        type=dataset_type,
        data_mode=data_mode,
        data_root=data_root,
        ann_file=ann_file_val,
        data_prefix=dict(img=img_val),
        bbox_file=data_root + bbox_file if bbox_file else None,
        metainfo=metainfo,
        test_mode=True,
        pipeline=val_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='CocoMetric', ann_file=data_root + ann_file_val, nms_mode='oks_nms', nms_thr=0.9)
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
val_cfg = dict(type='ValLoop')
test_cfg = dict(type='TestLoop')

optim_wrapper = dict(
    type='OptimWrapper',  # --amp makes it mixed precision
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=0.01),
    accumulative_counts=accumulative_counts,
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=epochs, milestones=steps, gamma=0.1),
]
# --auto-scale-lr compares GPUs x batch_size with this, and does not count accumulative_counts.
auto_scale_lr = dict(enable=False, base_batch_size=persons_per_step // accumulative_counts)

default_hooks = dict(
    checkpoint=dict(
        type='vidtx_mm.SafeCheckpointHook', interval=10, max_keep_ckpts=3, save_best='coco/AP', rule='greater'
    )
)
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='vidtx_mm.WeightInflationHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.ExactResumeHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
