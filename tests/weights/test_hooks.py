"""The hook in a real Runner: loading, resuming, EMA, wrapped models."""

import pytest
import torch
from forms import microsoft, mmaction, official, torchvision, video_swin
from helpers import randomized
from mmengine.hooks import EMAHook, Hook
from runs import Recognizer, runner
from safetensors.torch import save_file

from vidtx_mm.weights import CheckpointError
from vidtx_mm.weights.hooks import WeightInflationHook

HOOK = dict(type='vidtx_mm.WeightInflationHook')


@pytest.fixture
def weights():
    return official(randomized(video_swin()))


def save(weights, form, path):
    if path.suffix == '.safetensors':
        save_file(form(weights), path)
    else:
        torch.save({'state_dict': form(weights), 'meta': {}}, path)
    return str(path)


def holds(model, weights):
    found = model.state_dict()
    wanted = {key: value for key, value in weights.items() if not key.endswith('index')}
    return found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


FORMS = [(dict, 'a.pth'), (mmaction, 'a.pth'), (torchvision, 'a.safetensors')]


@pytest.mark.parametrize('form, name', FORMS, ids=['official', 'mmaction', 'torchvision'])
@pytest.mark.parametrize('loop', ['val', 'test'])
def test_known_files_are_loaded_for_evaluation(tmp_path, weights, form, name, loop):
    run = runner(tmp_path / 'work', Recognizer(), loop, load_from=save(weights, form, tmp_path / name))
    getattr(run, loop)()
    assert holds(run.model, weights)
    report = (tmp_path / 'work' / 'pretrained_report.txt').read_text()
    assert name in report and '100.0 %' in report


def test_load_from_survives_the_weight_initialization_of_training(tmp_path, weights):
    path = save(weights, torchvision, tmp_path / 'a.safetensors')
    run = runner(tmp_path / 'work', Recognizer(), 'train', load_from=path, lr=0.0)
    run.train()
    assert holds(run.model, weights)


def test_image_files_are_inflated_and_the_head_keeps_its_own_initialization(tmp_path):
    torch.save({'model': microsoft(video_swin())}, tmp_path / 'swin.pth')
    run = runner(tmp_path / 'work', Recognizer(), 'train', load_from=str(tmp_path / 'swin.pth'), lr=0.0)
    run.train()
    assert 0.005 < run.model.cls_head.fc_cls.weight.std() < 0.02
    report = (tmp_path / 'work' / 'pretrained_report.txt').read_text()
    assert 'mean over 2 frames' in report and 'left at init' in report


def test_the_options_of_the_hook_are_used(tmp_path, weights):
    hook = dict(type='vidtx_mm.WeightInflationHook', head='keep')
    path = save(weights, dict, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='fc_cls.weight'):
        runner(tmp_path / 'work', Recognizer(classes=3), hooks=[hook], load_from=path).test()
    with pytest.raises(TypeError, match='unknown option inflation: choose from source'):
        WeightInflationHook(inflation='mean')


def test_mismatches_stop_the_run(tmp_path, weights):
    del weights['backbone.norm.bias']
    with pytest.raises(CheckpointError, match='norm.bias'):
        runner(tmp_path / 'work', Recognizer(), load_from=save(weights, dict, tmp_path / 'a.pth')).test()


def test_damaged_files_stop_the_run(tmp_path):
    (tmp_path / 'a.pth').write_bytes(b'PK\x03\x04' + bytes(50))
    with pytest.raises(CheckpointError, match='a.pth is cut short'):
        runner(tmp_path / 'work', Recognizer(), load_from=str(tmp_path / 'a.pth')).test()


class Spy(Hook):
    """Looks at the weights of the model, and of its average if there is one, when training starts."""

    priority = 'LOWEST'

    def before_train(self, runner):
        self.model = {key: value.clone() for key, value in runner.model.state_dict().items()}
        averages = [hook.ema_model.module.state_dict() for hook in runner.hooks if isinstance(hook, EMAHook)]
        self.averages = [{key: value.clone() for key, value in average.items()} for average in averages]


@pytest.fixture
def trained(tmp_path):
    """A work dir with one epoch of training in it."""
    run = runner(tmp_path / 'work', Recognizer(), 'train')
    run.train()
    return tmp_path / 'work', {key: value.clone() for key, value in run.model.state_dict().items()}


def test_a_finished_run_is_tested_and_resumed(trained):
    work_dir, expected = trained
    checkpoint = str(work_dir / 'epoch_1.pth')
    run = runner(work_dir, Recognizer(), 'test', load_from=checkpoint)
    run.test()
    assert holds(run.model, expected)
    for source in (None, checkpoint):
        run = runner(work_dir, Recognizer(), 'train', load_from=source, resume=True, max_epochs=2)
        run.train()
        assert run.epoch == 2 and not holds(run.model, expected)


def test_a_resumed_run_continues_from_the_checkpoint(trained):
    work_dir, expected = trained
    run = runner(work_dir, Recognizer(), 'train', resume=True, max_epochs=2)
    spy = Spy()
    run.register_hook(spy)
    run.train()
    assert all(torch.equal(spy.model[key], expected[key]) for key in expected)


def test_resuming_needs_the_same_model(trained):
    work_dir, _ = trained
    with pytest.raises(CheckpointError, match=r'epoch_1.pth is not a checkpoint of this Recognizer.*(.|\n)*fc_cls'):
        runner(
            work_dir, Recognizer(classes=3), 'train', load_from=str(work_dir / 'epoch_1.pth'), resume=True, max_epochs=2
        ).train()


def test_resuming_needs_a_run(tmp_path, weights):
    path = save(weights, dict, tmp_path / 'a.pth')
    with pytest.raises(RuntimeError, match='a.pth holds no state of a run.*load_from'):
        runner(tmp_path / 'work', Recognizer(), 'train', load_from=path, resume=True).train()


def test_the_moving_average_starts_from_the_loaded_weights(tmp_path, weights):
    path = save(weights, torchvision, tmp_path / 'a.safetensors')
    hooks = [dict(type='EMAHook'), dict(type='vidtx_mm.WeightInflationHook')]
    run = runner(tmp_path / 'work', Recognizer(), 'train', hooks, load_from=path)
    spy = Spy()
    run.register_hook(spy)
    run.train()
    assert len(spy.averages) == 1
    for found in (spy.model, *spy.averages):
        assert all(torch.equal(found[key], weights[key]) for key in found)


@pytest.fixture
def process_group(tmp_path):
    torch.distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def test_the_model_inside_a_wrapper_is_loaded(tmp_path, weights, process_group):
    run = runner(tmp_path / 'work', Recognizer(), load_from=save(weights, mmaction, tmp_path / 'a.pth'))
    run.model = torch.nn.parallel.DistributedDataParallel(run.model)
    run.call_hook('before_run')
    run.load_or_resume()
    assert holds(run.model.module, weights)


@pytest.mark.parametrize('loop', ['val', 'test'])
def test_a_head_left_at_init_is_not_tested(tmp_path, weights, loop):
    """Its results would be random; the error names the option that tests it all the same."""
    path = save(weights, dict, tmp_path / 'a.pth')
    options = dict(load_from=path, cfg=dict(custom_hooks=[dict(type='Other'), HOOK]))
    with pytest.raises(CheckpointError, match='(?s)head at its initialization.*custom_hooks.1.allow_random_head=True'):
        getattr(runner(tmp_path / 'work', Recognizer(classes=3), loop, **options), loop)()
    run = runner(tmp_path / 'work', Recognizer(classes=3), loop, hooks=[dict(HOOK, allow_random_head=True)], **options)
    getattr(run, loop)()
