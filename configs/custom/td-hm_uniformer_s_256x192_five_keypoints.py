"""UniFormer-S with a heatmap head for five keypoints of your own, on one GPU, from a published COCO pose model.

An example for your own data: a few lines on top of a published recipe. Copy it, set the path of ``_base_``, and change
the variables. Its data are hands and feet of the figures of tools/make_figures.py.
Recipe: td-hm_uniformer_s_256x192_coco.py, with the changes below
Command: mim train mmpose td-hm_uniformer_s_256x192_five_keypoints.py --amp
    No GPU: leave out --amp.
"""

_base_ = '../pose/td-hm_uniformer_s_256x192_coco.py'

# Your data, machine and schedule.
data_root = 'data/figures/'
ann_file_train = 'annotations/five_keypoints_train.json'  # this and the next three below data_root
ann_file_val = 'annotations/five_keypoints_val.json'
img_train = 'train/'
img_val = 'val/'
# In the order of the annotation files: name, the keypoint that it is in a mirror image, spread in the metric.
keypoints = [
    ('nose', 'nose', 0.026),
    ('left_wrist', 'right_wrist', 0.062),
    ('right_wrist', 'left_wrist', 0.062),
    ('left_ankle', 'right_ankle', 0.089),
    ('right_ankle', 'left_ankle', 0.089),
]
skeleton = [('nose', 'left_wrist'), ('nose', 'right_wrist'), ('nose', 'left_ankle'), ('nose', 'right_ankle')]
batch_size = 32
num_workers = 2
lr = 2e-3 * batch_size / 1024  # the recipe's rate is for 1024 persons; on N GPUs multiply it by N
warmup = 50  # iterations, of batch_size persons
epochs = 40
steps = [30, 37]  # the epochs after which the rate falls to a tenth
frozen_stages = 1  # stem and first stage keep their weights
load_from = (
    'https://download.openmmlab.com/mmpose/v1/projects/uniformer/top_down_256x192_global_small-d4a7fdac_20230724.pth'
)

metainfo = dict(
    _delete_=True,  # instead of the recipe's None
    dataset_name='five_keypoints',
    keypoint_info={index: dict(name=name, id=index, swap=swap) for index, (name, swap, _) in enumerate(keypoints)},
    skeleton_info={index: dict(link=link, id=index) for index, link in enumerate(skeleton)},
    joint_weights=[1.0] * len(keypoints),
    sigmas=[sigma for _, _, sigma in keypoints],
)
model = dict(
    backbone=dict(frozen_stages=frozen_stages, norm_eval=True, init_cfg=None),  # init_cfg: load_from has all weights
    head=dict(out_channels=len(keypoints)),
)
train_dataloader = dict(
    batch_size=batch_size,
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root, ann_file=ann_file_train, data_prefix=dict(img=img_train), metainfo=dict(metainfo)
    ),
)
val_dataloader = dict(
    num_workers=num_workers,
    persistent_workers=num_workers > 0,
    dataset=dict(
        data_root=data_root,
        ann_file=ann_file_val,
        data_prefix=dict(img=img_val),
        bbox_file=None,  # the annotated boxes
        metainfo=dict(metainfo),
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
