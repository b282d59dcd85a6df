"""UniFormer-B with layer scale on ImageNet-1K, 224 x 224, from scratch.

Recipe: github.com/Sense-X/UniFormer, image_classification/exp/uniformer_base_ls
Published: top-1 83.9; 49.8M parameters, 8.3G multiply-adds (README of image_classification).
Command: mim train mmpretrain uniformer_b_ls_in1k.py --launcher pytorch --gpus 8 --amp
    On N GPUs: --gpus N --cfg-options gpus=N, and a step still takes images_per_step.
"""

# Your data, machine and schedule.
data_root = 'data/imagenet/'
dataset_type = 'ImageNet'  # your own classes: 'CustomDataset'
img_train = 'train'  # this and the next three below data_root
img_val = 'val'
ann_file_train = ''  # '' for a folder of images for each class, or a file with lines: image class
ann_file_val = ''
num_classes = 1000
batch_size = 128  # of each GPU
gpus = 8
images_per_step = 1024  # accumulated over several batches if need be
num_workers = 8
lr = 8e-4  # for images_per_step
weight_decay = 0.05
epochs = 300
checkpoint = None  # file of weights for the backbone, to start from; None: from scratch

# Model and images.
head_dim = 64
arch = dict(depths=(5, 8, 20, 7), embed_dims=(64, 128, 320, 512), head_dim=head_dim, mlp_ratio=4.0, layer_scale=1e-6)
token_labels = False  # a second classifier, of tokens, as the files of token labeling have
drop_path_rate = 0.3
image_size = 224
with_cp = False  # blocks of each stage to recompute in the backward pass; True: all, to save memory

# Body of imagenet: the same in all configs of this group (tools/sync_configs.py).
_base_ = 'mmpretrain::_base_/default_runtime.py'
custom_imports = dict(imports=['vidtx_mm', 'vidtx_mm.heads.image_head'], allow_failed_imports=False)

# Gradients accumulate over as many batches as images_per_step needs.
accumulative_counts = max(1, round(images_per_step / (batch_size * gpus)))

mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=num_classes, mean=mean, std=std, to_rgb=True),
    backbone=dict(
        type='vidtx_mm.ImageUniFormer',
        arch=arch,
        final_norm=True,
        drop_path_rate=drop_path_rate,
        with_cp=with_cp,
        init_cfg=dict(type='vidtx_mm.FromPretrained', checkpoint=checkpoint) if checkpoint else None,
    ),
    head=dict(
        type='vidtx_mm.TokenLabelClsHead' if token_labels else 'vidtx_mm.ImageClsHead',
        num_classes=num_classes,
        in_channels=arch['embed_dims'][-1],
        loss=dict(type='LabelSmoothLoss', label_smooth_val=0.1, mode='original'),
        init_cfg=dict(type='TruncNormal', layer='Linear', std=0.02),
    ),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=image_size, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        fill_color=mean[::-1],  # BGR
        fill_std=std[::-1],
    ),
    dict(type='PackInputs'),
]
short_side = int(image_size / 0.9 if token_labels else image_size * 256 / 224)
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=short_side, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=image_size),
    dict(type='PackInputs'),
]

loader = dict(batch_size=batch_size, num_workers=num_workers, persistent_workers=num_workers > 0)
train_dataloader = dict(
    loader,
    sampler=dict(type='RepeatAugSampler', shuffle=True, num_repeats=3),
    drop_last=True,
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        data_prefix=img_train,
        ann_file=ann_file_train,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    loader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type=dataset_type, data_root=data_root, data_prefix=img_val, ann_file=ann_file_val, pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='Accuracy', topk=(1, 5) if num_classes >= 5 else (1,))
test_evaluator = val_evaluator

train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type='OptimWrapper',  # --amp makes it mixed precision
    constructor='vidtx_mm.TransformerOptimConstructor',
    paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
    optimizer=dict(type='AdamW', lr=lr, betas=(0.9, 0.999), weight_decay=weight_decay),
    accumulative_counts=accumulative_counts,
)
warmup = min(5, epochs / 2)  # epochs
param_scheduler = [  # both hold from the first step on, and their rates multiply
    dict(type='LinearLR', start_factor=1e-6 / lr, by_epoch=True, begin=0, end=warmup, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=epochs, eta_min=1e-5, by_epoch=True, begin=0, end=epochs),
]
# --auto-scale-lr compares GPUs x batch_size with this, and does not count accumulative_counts.
auto_scale_lr = dict(enable=False, base_batch_size=images_per_step // accumulative_counts)

default_hooks = dict(
    checkpoint=dict(type='vidtx_mm.SafeCheckpointHook', interval=1, max_keep_ckpts=3, save_best='auto'),
    logger=dict(interval=100),
)
custom_hooks = [
    dict(type='vidtx_mm.WeightInflationHook'),
    dict(type='vidtx_mm.PreflightHook'),
    dict(type='vidtx_mm.ExactResumeHook'),
    dict(type='vidtx_mm.NonFiniteGuard'),
]
