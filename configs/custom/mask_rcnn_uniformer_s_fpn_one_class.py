"""Mask R-CNN with UniFormer-S on COCO annotations of one class, on one GPU, from a published COCO detector.

An example for your own data: a few lines on top of a published recipe. Copy it, set the path of ``_base_``, and change
the variables. Its data are the persons of tools/make_figures.py.
Recipe: mask_rcnn_uniformer_s_fpn_1x_coco.py, with the changes below
Command: mim train mmdet mask_rcnn_uniformer_s_fpn_one_class.py --amp
    No GPU: leave out --amp.
"""

_base_ = '../detection/mask_rcnn_uniformer_s_fpn_1x_coco.py'

# Your data, machine and schedule.
data_root = 'data/figures/'
ann_file_train = 'annotations/instances_train.json'  # this and the next three below data_root
ann_file_val = 'annotations/instances_val.json'
img_train = 'train/'
img_val = 'val/'
classes = ('person',)  # exactly as in the annotation files; the comma makes it a tuple
batch_size = 2
num_workers = 2
lr = 1e-4 * batch_size / 16  # the recipe's rate is for 16 images; on N GPUs multiply it by N
warmup = 50  # iterations, of batch_size images
epochs = 12
steps = [8, 11]  # the epochs after which the rate falls to a tenth
frozen_stages = 1  # stem and first stage keep their weights
load_from = 'https://huggingface.co/Andy1621/uniformer/resolve/main/mask_rcnn_3x_ms_hybrid_small.pth'

num_classes = len(classes)
model = dict(
    backbone=dict(frozen_stages=frozen_stages, norm_eval=True, init_cfg=None),  # init_cfg: load_from has all weights
    roi_head=dict(bbox_head=dict(num_classes=num_classes), mask_head=dict(num_classes=num_classes)),
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file_train,
        data_prefix=dict(img=img_train),
        metainfo=dict(_delete_=True, classes=classes),
    ),
)
val_dataloader = dict(
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file_val,
        data_prefix=dict(img=img_val),
        metainfo=dict(_delete_=True, classes=classes),
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + ann_file_val)
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=epochs)
optim_wrapper = dict(optimizer=dict(lr=lr), accumulative_counts=1)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=warmup),
    dict(type='MultiStepLR', by_epoch=True, begin=0, end=epochs, milestones=steps, gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=batch_size)
