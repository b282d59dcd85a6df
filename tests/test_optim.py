import re

import pytest
import torch
from mmaction.registry import MODELS
from mmengine.optim import CosineAnnealingLR, build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn

CONSTRUCTOR = 'vidtx_mm.TransformerOptimConstructor'
SWIN = dict(
    type='vidtx_mm.VideoSwin',
    arch=dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2]),
    window_size=(2, 3, 3),
    out_indices=(1,),
)


def build(**backbone):
    init_default_scope('mmaction')
    head = dict(type='vidtx_mm.VideoClsHead', num_classes=4, in_channels=32)
    return MODELS.build(dict(type='Recognizer3D', backbone={**SWIN, **backbone}, cls_head=head))


@pytest.fixture(scope='module')
def swin():
    return build()


class Backbone(nn.Module):
    """One parameter of each kind."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv3d(3, 4, 1)
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))
        self.bn = nn.BatchNorm3d(4)
        self.ln = nn.LayerNorm(4)
        self.gamma = nn.Parameter(torch.ones(4))
        self.attn = nn.MultiheadAttention(4, 1)

    def no_weight_decay(self):
        return {'pos_embed'}

    def layer_depth(self, name):
        return (0 if name.startswith(('embed', 'pos_embed')) else 1), 2


KINDS = {
    'norm': {'bn.weight', 'bn.bias', 'ln.weight', 'ln.bias'},
    'embed': {'pos_embed'},
    'bias': {'embed.bias', 'attn.in_proj_bias', 'attn.out_proj.bias'},
    'flat': {'gamma'},
    'weight': {'embed.weight', 'attn.in_proj_weight', 'attn.out_proj.weight'},
}
ALSO = {'bias': {'bn.bias', 'ln.bias'}, 'flat': KINDS['norm'] | KINDS['bias']}
"""Further parameters of a rule, if no earlier rule applies to them."""


def toy():
    return nn.ModuleDict(dict(backbone=Backbone(), cls_head=nn.Linear(4, 2)))


def wrap(model, optimizer=None, type='OptimWrapper', **paramwise):
    optimizer = optimizer or dict(type='AdamW', lr=1.0, weight_decay=0.5)
    return build_optim_wrapper(
        model, dict(type=type, constructor=CONSTRUCTOR, optimizer=optimizer, paramwise_cfg=paramwise)
    )


def rates(model, **kwargs):
    """Return {parameter name: (lr, weight decay)} of a built optimizer, and check that each parameter occurs once."""
    names = {id(param): name for name, param in model.named_parameters()}
    result = {}
    for group in wrap(model, **kwargs).optimizer.param_groups:
        for param in group['params']:
            assert names[id(param)] not in result, 'in two groups'
            result[names[id(param)]] = group['lr'], group['weight_decay']
    return result


@pytest.mark.parametrize('kind', ['norm', 'embed', 'bias', 'flat'])
def test_one_rule(kind):
    result = rates(toy(), **{f'{kind}_decay_mult': 0.0})
    expected = {f'backbone.{name}' for name in KINDS[kind] | ALSO.get(kind, set())}
    if kind in ALSO:
        expected.add('cls_head.bias')
    assert {name for name, (_, decay) in result.items() if decay == 0} == expected
    assert {lr for lr, _ in result.values()} == {1.0}
    assert {decay for _, decay in result.values()} == {0.0, 0.5}


def test_the_first_rule_of_a_parameter_wins():
    result = rates(toy(), norm_decay_mult=0.1, embed_decay_mult=0.2, bias_decay_mult=0.4, flat_decay_mult=0.8)
    mults = dict(norm=0.1, embed=0.2, bias=0.4, flat=0.8, weight=1.0)
    for kind, names in KINDS.items():
        for name in names:
            assert result[f'backbone.{name}'] == (1.0, pytest.approx(0.5 * mults[kind])), name


def test_backbone_rate_holds_for_all_of_the_backbone():
    result = rates(toy(), backbone_lr_mult=0.1, norm_decay_mult=0.0, embed_decay_mult=0.0)
    assert {lr for name, (lr, _) in result.items() if name.startswith('backbone.')} == {0.1}
    assert result['cls_head.weight'] == (1.0, 0.5)
    assert result['backbone.ln.weight'] == (0.1, 0.0)
    assert result['backbone.pos_embed'] == (0.1, 0.0)


def test_layer_decay():
    result = rates(toy(), backbone_lr_mult=0.5, layer_decay=0.7)
    assert result['backbone.embed.weight'][0] == pytest.approx(0.5 * 0.7)
    assert result['backbone.gamma'][0] == 0.5
    assert result['cls_head.weight'][0] == 1.0


def test_no_rule_means_one_group_with_everything():
    """TimeSformer: SGD with weight decay on all parameters."""
    model = toy()
    wrapper = wrap(model, dict(type='SGD', lr=0.005, momentum=0.9, nesterov=True, weight_decay=1e-4))
    (group,) = wrapper.optimizer.param_groups
    assert len(group['params']) == len(list(model.parameters()))
    assert (group['lr'], group['weight_decay']) == (0.005, 1e-4)


RECIPES = {
    'video_swin': dict(backbone_lr_mult=0.1, norm_decay_mult=0.0, embed_decay_mult=0.0),
    'uniformer': dict(norm_decay_mult=0.0, bias_decay_mult=0.0, flat_decay_mult=0.0),
}


@pytest.mark.parametrize('recipe', RECIPES)
def test_groups_of_the_real_video_swin(swin, recipe):
    result = rates(swin, **RECIPES[recipe])
    modules = dict(swin.named_modules())
    assert set(result) == {name for name, _ in swin.named_parameters()}
    for name, rate in result.items():
        norm = isinstance(modules[name.rpartition('.')[0]], (nn.LayerNorm, nn.BatchNorm3d))
        table = name.endswith('relative_position_bias_table')
        spared = norm or (table if recipe == 'video_swin' else name.endswith('bias'))
        lr = 0.1 if recipe == 'video_swin' and name.startswith('backbone.') else 1.0
        assert rate == (pytest.approx(lr), 0.0 if spared else 0.5), name


def test_the_log_is_one_table(swin, monkeypatch):
    lines = []
    monkeypatch.setattr('vidtx_mm.optim.print_log', lambda message, **_: lines.append(message))
    wrapper = wrap(swin, dict(type='AdamW', lr=1e-3, weight_decay=0.02), **RECIPES['video_swin'])
    (table,) = lines
    print(table)
    title, header, *rows = table.splitlines()
    assert header.split() == ['group', 'lr', 'decay', 'tensors', 'parameters']
    cells = [re.split(r'  +', row) for row in rows]
    groups = wrapper.optimizer.param_groups
    assert [group['name'] for group in groups] == [cell[0] for cell in cells]
    assert [cell[0] for cell in cells] == [
        'cls_head: weight, bias',
        'backbone: weight, bias',
        'backbone: norm, embed',
    ]
    assert [cell[1:3] for cell in cells] == [['0.001', '0.02'], ['0.0001', '0.02'], ['0.0001', '0']]
    assert sum(int(cell[4].replace(',', '')) for cell in cells) == sum(p.numel() for p in swin.parameters())
    assert len({len(row) for row in (header, *rows)}) == 1, 'aligned'


def test_frozen_parameters_are_left_out_and_counted(monkeypatch):
    lines = []
    monkeypatch.setattr('vidtx_mm.optim.print_log', lambda message, **_: lines.append(message))
    model = build(frozen_stages=1).train()
    result = rates(model, norm_decay_mult=0.0)
    frozen = {name for name, param in model.named_parameters() if not param.requires_grad}
    assert any('patch_embed' in name for name in frozen)
    assert not frozen & set(result) and frozen | set(result) == {name for name, _ in model.named_parameters()}
    assert re.search(rf'frozen +{len(frozen)} ', lines[0])


def test_shared_parameters_come_once():
    model = toy()
    model['tied'] = nn.Linear(4, 2)
    model['tied'].weight = model['cls_head'].weight
    assert 'cls_head.weight' in rates(model)


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        (dict(custom_keys={}), 'unknown paramwise_cfg keys custom_keys; valid keys: backbone_lr_mult, layer_decay'),
        (dict(norm_decay=0, bias_decay=0), 'bias_decay, norm_decay'),
        (dict(backbone_lr_mult=-0.1), 'backbone_lr_mult=-0.1: give a number from 0 to 100'),
        (dict(norm_decay_mult='0'), "norm_decay_mult='0': give a number from 0 to 100"),
        (dict(backbone_lr_mult=None), 'backbone_lr_mult=None: give a number from 0 to 100$'),
        (dict(layer_decay=0), r'layer_decay=0: give a number in \(0, 1\], or None'),
    ],
)
def test_wrong_keys_and_values(paramwise, message):
    with pytest.raises(ValueError, match=message):
        wrap(toy(), **paramwise)


@pytest.mark.parametrize('key', ['lr', 'weight_decay'])
def test_optimizer_needs_the_values_that_are_multiplied(key):
    optimizer = dict(type='AdamW', lr=1e-3, weight_decay=0.05)
    del optimizer[key]
    with pytest.raises(ValueError, match=key):
        wrap(toy(), optimizer)


@pytest.mark.parametrize(('key', 'method'), [('embed_decay_mult', 'no_weight_decay'), ('layer_decay', 'layer_depth')])
def test_rules_that_the_backbone_does_not_support(key, method):
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=rf'{key} needs backbone.{method}\(\), which Linear lacks; remove {key}'):
        wrap(model, **{key: 0.5})


def test_names_that_match_nothing_are_an_error():
    model = toy()
    model['backbone'].no_weight_decay = lambda: {'pos_embed', 'cls_token'}
    with pytest.raises(ValueError, match='cls_token'):
        wrap(model, embed_decay_mult=0.0)


def test_schedulers_and_automatic_scaling_keep_the_ratio():
    wrapper = wrap(toy(), backbone_lr_mult=0.1)
    runner = type('R', (), dict(world_size=2, _train_dataloader=dict(batch_size=4), logger=_Silent()))()
    runner.param_schedulers = []
    Runner.scale_lr(runner, wrapper, dict(enable=True, base_batch_size=16))
    assert wrapper.get_lr()['lr'] == pytest.approx([0.5, 0.05])
    scheduler = CosineAnnealingLR(wrapper, T_max=2, by_epoch=True)
    wrapper.step()
    scheduler.step()
    assert wrapper.get_lr()['lr'] == pytest.approx([0.25, 0.025])


class _Silent:
    def info(self, *args):
        pass


def test_state_of_the_optimizer_can_be_resumed():
    torch.manual_seed(0)
    model = toy()
    wrapper = wrap(model, **RECIPES['video_swin'])
    wrapper.update_params(model['cls_head'](torch.randn(3, 4)).sum())
    other = wrap(toy(), **RECIPES['video_swin'])
    other.load_state_dict(wrapper.state_dict())
    assert len(other.optimizer.state) == len(wrapper.optimizer.state) == 2


def test_distributed_models_have_the_same_groups(tmp_path):
    model = toy()
    plain = wrap(model, **RECIPES['video_swin']).optimizer.param_groups
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        groups = wrap(nn.parallel.DistributedDataParallel(model), **RECIPES['video_swin']).optimizer.param_groups
    finally:
        torch.distributed.destroy_process_group()
    assert [group['name'] for group in groups] == [group['name'] for group in plain]
    for ours, theirs in zip(groups, plain, strict=True):
        assert all(a is b for a, b in zip(ours['params'], theirs['params'], strict=True))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='AmpOptimWrapper needs a GPU')
def test_mixed_precision_step():
    model = toy().cuda()
    wrapper = wrap(model, type='AmpOptimWrapper', **RECIPES['video_swin'])
    before = model['cls_head'].weight.clone()
    with wrapper.optim_context(model):
        loss = model['cls_head'](torch.ones(3, 4, device='cuda')).sum()
    wrapper.update_params(loss)
    assert not torch.equal(model['cls_head'].weight, before)
