"""A small recognizer and a real MMEngine Runner around it."""

import torch
from forms import CLASSES, video_swin
from mmengine.evaluator import Evaluator
from mmengine.model import BaseModel, BaseModule
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Head(BaseModule):
    def __init__(self, channels, classes):
        super().__init__(init_cfg=dict(type='Normal', layer='Linear', std=0.01))
        self.fc_cls = nn.Linear(channels, classes)

    def forward(self, x):
        return self.fc_cls(x.flatten(2).mean(2))


class Recognizer(BaseModel):
    def __init__(self, init_cfg=None, backbone_init_cfg=None, classes=CLASSES):
        super().__init__(init_cfg=init_cfg)
        self.backbone = video_swin(init_cfg=backbone_init_cfg, drop_path_rate=0.0)
        self.cls_head = Head(self.backbone.out_channels[-1], classes)

    def forward(self, inputs, labels, mode='tensor'):
        scores = self.cls_head(self.backbone(torch.stack(inputs) if isinstance(inputs, list) else inputs))
        return {'loss': nn.functional.cross_entropy(scores, labels)} if mode == 'loss' else [scores]


class Clips(Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return dict(inputs=torch.randn(3, 4, 16, 16, generator=generator), labels=torch.tensor(index))


class Nothing(Evaluator):
    """An evaluator of nothing."""

    def __init__(self):
        super().__init__([])

    def process(self, **kwargs): ...


def runner(work_dir, model, loop='test', hooks=({'type': 'vidtx_mm.WeightInflationHook'},), lr=0.1, **kwargs):
    data = DataLoader(Clips(), batch_size=2)
    parts = {
        'train': dict(
            train_dataloader=data,
            train_cfg=dict(by_epoch=True, max_epochs=kwargs.pop('max_epochs', 1)),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=lr)),
        ),
        'val': dict(val_dataloader=data, val_cfg=dict(), val_evaluator=Nothing()),
        'test': dict(test_dataloader=data, test_cfg=dict(), test_evaluator=Nothing()),
    }[loop]
    return Runner(
        model=model,
        work_dir=str(work_dir),
        custom_hooks=[dict(hook) for hook in hooks],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        experiment_name=f'{work_dir.parent.name}-{work_dir.name}-{loop}-{id(model)}',
        **parts,
        **kwargs,
    )
