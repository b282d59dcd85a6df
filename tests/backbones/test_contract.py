"""The promises that every backbone of the package keeps (docs/architecture.md, 'Backbone contract')."""

import copy
import pickle
import re

import pytest
import torch
from cases import CASES, Case
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vidtx_mm import backbones
from vidtx_mm.registry import MODELS


def build(case: Case, **overrides) -> nn.Module:
    torch.manual_seed(0)
    return MODELS.build(dict(type=f'vidtx_mm.{case.type}', **{**case.kwargs, **overrides}))


def clip(case: Case, size: tuple[int, ...] | None = None, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, *(size or case.input), generator=torch.Generator().manual_seed(1))


def as_tuple(outputs) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


@pytest.fixture(params=CASES, ids=str)
def case(request) -> Case:
    return request.param


def test_declared_outputs(case):
    """out_channels and out_strides hold for every output, and one index gives one tensor."""
    everything = build(case, out_indices=tuple(range(case.stages)))
    x = clip(case)
    outputs = everything.eval()(x)
    assert isinstance(outputs, tuple) and len(outputs) == case.stages
    for output, channels, strides in zip(outputs, everything.out_channels, everything.out_strides, strict=True):
        assert output.shape[:2] == (2, channels)
        if output.dim() > 2:
            sizes = zip(x.shape[2:], strides[-(x.dim() - 2) :], strict=True)
            assert output.shape[2:] == tuple(-(-size // stride) for size, stride in sizes)
    one = build(case, out_indices=(case.stages - 1,))
    assert isinstance(one.eval()(x), torch.Tensor)


def test_any_size(case):
    """Sizes that no stride divides, one frame, and a single token all work."""
    model = build(case).eval()
    one_frame = (1, *case.input[1:]) if len(case.input) == 3 else case.input
    one_token = model.out_strides[-1][-len(case.input) :]
    for size in (case.odd_input, one_frame, one_token):
        assert all(torch.isfinite(y).all() for y in as_tuple(model(clip(case, size))))
    (output,) = as_tuple(model(clip(case, one_token)))
    assert output.dim() == 2 or output[0, 0].numel() == 1


def test_every_parameter_gets_a_gradient(case):
    model = build(case).train()
    sum(y.square().sum() for y in as_tuple(model(clip(case)))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_checkpointing_changes_nothing(case):
    """with_cp changes neither outputs nor gradients, and updates BatchNorm once."""
    x = clip(case)
    results = []
    for with_cp in (False, True, [1] * case.stages):
        model = build(case, with_cp=with_cp, drop_path_rate=0.0).train()
        output = model(x)
        output.square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters()}
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        results.append((output, gradients, buffers))
    for output, gradients, buffers in results[1:]:
        torch.testing.assert_close(output, results[0][0], rtol=0, atol=0)
        torch.testing.assert_close(gradients, results[0][1])
        torch.testing.assert_close(buffers, results[0][2], rtol=0, atol=0)


def test_checkpointing_saves_memory(case):
    def saved(with_cp: bool) -> int:
        total = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal total
            total += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            build(case, with_cp=with_cp).train()(clip(case))
        return total

    assert saved(True) < 0.7 * saved(False)


def test_train_and_eval_return_self(case):
    model = build(case)
    assert model.train() is model and model.eval() is model and not model.training


def test_frozen_stages(case):
    """0 freezes the tokenizer, n the first n stages too; frozen BatchNorm stays in eval mode; -1 freezes nothing."""
    assert all(p.requires_grad for p in build(case).parameters())
    frozen = []
    for stages in range(case.stages + 1):
        model = build(case, frozen_stages=stages)
        names = {name for name, p in model.named_parameters() if not p.requires_grad}
        model.train()
        assert names == {name for name, p in model.named_parameters() if not p.requires_grad}
        for modules in model.stage_modules()[: stages + 1]:
            for module in modules:
                assert not any(m.training for m in module.modules() if isinstance(m, _BatchNorm))
        frozen.append(names)
    assert all(small < large for small, large in zip(frozen, frozen[1:], strict=False))
    model = build(case, frozen_stages=1).train()
    model(clip(case)).square().sum().backward()
    assert {name for name, p in model.named_parameters() if p.grad is None} == frozen[1]


def test_builds_on_meta(case):
    with torch.device('meta'):
        model = build(case)
    assert all(p.is_meta for p in model.parameters())
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in build(case).parameters())


@pytest.mark.parametrize('training', [True, False])
def test_reads_no_value_and_leaves_no_tensor_behind(case, training):
    """A model moves to the meta device, where no branch for CPUs is taken and no value is read, as on a GPU."""
    model = build(case, drop_path_rate=0.1).train(training).to('meta')
    for size in (case.input, case.odd_input):
        outputs = as_tuple(model(torch.empty(2, 3, *size, device='meta')))
        sum(y.square().sum() for y in outputs).backward()
        assert all(y.is_meta for y in outputs) and all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16], ids=str)
def test_autocast_is_finite(case, dtype):
    model = build(case).eval()
    with torch.autocast('cpu', dtype=dtype):
        assert all(torch.isfinite(y.float()).all() for y in as_tuple(model(clip(case))))


def test_deepcopy_and_pickle(case):
    model, x = build(case).eval(), clip(case)
    expected = model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)


def test_moves_between_dtypes(case):
    """No tensor is cached in an old dtype: a model that ran in float32 runs in float64, where both agree."""
    model, x = build(case).eval(), clip(case)
    single = model(x)
    double = model.double()(x.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_state_dict_holds_no_derived_buffers(case):
    kept = {'running_mean', 'running_var', 'num_batches_tracked'}
    model = build(case)
    parameters = {name for name, _ in model.named_parameters()}
    assert {name.rsplit('.', 1)[-1] for name in model.state_dict() if name not in parameters} <= kept


def test_compiles_without_graph_break(case):
    model, x = build(case).eval(), clip(case)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(x), model(x))


def test_layer_depth_covers_all_parameters(case):
    """Depths run from 0 (tokenizer) to the last without a gap, and never fall along the forward order of blocks."""
    model = build(case)
    depths = {model.layer_depth(name)[0] for name, _ in model.named_parameters()}
    total = {model.layer_depth(name)[1] for name, _ in model.named_parameters()}
    assert len(total) == 1 and depths == set(range(total.pop()))


def test_no_weight_decay_names_exist(case):
    model = build(case)
    assert model.no_weight_decay() <= {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(arch='giant'), "arch='giant'"),
        (dict(arch=dict(embed_dims=8)), 'missing keys'),
        (dict(out_indices=(99,)), 'out_indices'),
        (dict(frozen_stages=99), 'frozen_stages=99'),
        (dict(with_cp=[1]), 'with_cp'),
    ],
)
def test_bad_arguments(case, kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(case, **kwargs)


@pytest.mark.parametrize('value', [0, -1, '2', ()])
def test_numbers_of_an_arch_are_positive(case: Case, value: object) -> None:
    for key in case.kwargs['arch']:
        with pytest.raises(
            ValueError, match=rf'arch: {key}={re.escape(repr(value))}: give (a positive|a list of positive|True or)'
        ):
            build(case, arch=case.kwargs['arch'] | {key: value})


def test_unknown_keyword(case):
    with pytest.raises(TypeError, match=r"argument 'windw_size'.*; valid are .*frozen_stages.*init_cfg"):
        build(case, windw_size=7)
    with pytest.raises(TypeError, match=r"argument 'windw_size'.*; valid are .*frozen_stages.*init_cfg"):
        getattr(backbones, case.type)(windw_size=7)


def test_wrong_channels(case):
    with pytest.raises(ValueError, match='in_channels'):
        build(case)(clip(case)[:, :2])


def test_wrong_rank(case):
    with pytest.raises(ValueError, match='dimensional'):
        build(case)(clip(case)[..., 0])
