"""VideoRecognizer: a test computes its views in chunks, with the features of all at once."""

import re
from types import SimpleNamespace

import pytest
import torch
from cases import CASES, Case
from torch import Tensor, nn

from vidtx_mm import recognizer
from vidtx_mm.recognizer import VideoRecognizer, views_at_a_time
from vidtx_mm.registry import MODELS

CLIPS = [case for case in CASES if len(case.input) == 3]


def build(case: Case = CLIPS[0], **settings: object) -> VideoRecognizer:
    torch.manual_seed(0)
    backbone = dict(type=f'vidtx_mm.{case.type}', **case.kwargs)
    head = dict(type='vidtx_mm.VideoClsHead', in_channels=3, num_classes=5, pool='none')
    parts = dict(backbone=backbone, cls_head=head, data_preprocessor=dict(type='mmaction.ActionDataPreprocessor'))
    return MODELS.build(dict(type='vidtx_mm.VideoRecognizer', **parts, **settings)).eval()


class Recording(nn.Module):
    """Return the channel means of clips and note how many come at a time; more than ``most`` do not fit in memory."""

    def __init__(self, most: int = 100) -> None:
        super().__init__()
        self.most = most
        self.calls: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(len(x))
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError('CUDA out of memory')
        return x.mean((2, 3, 4))


def record(most: int = 100, **settings: object) -> VideoRecognizer:
    model = build(**settings)
    model.backbone = Recording(most)
    return model


def views(*batch: int) -> Tensor:
    return torch.randn(*batch, 3, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def set_chunk(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(recognizer, 'views_at_a_time', lambda extract, views: size)


@pytest.mark.parametrize('case', CLIPS, ids=str)
def test_features_do_not_depend_on_the_chunk(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(case)
    inputs = torch.randn(2, 3, 3, *case.input, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = torch.cat([model.backbone(view[None]) for view in inputs.flatten(0, 1)])
        for size in (1, 4, 6):
            set_chunk(monkeypatch, size)
            model._chunk_sizes.clear()
            features, _ = model.extract_feat(inputs, test_mode=True)
            torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)


def test_chunks_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 5)
    model, inputs = record(), views(2, 6)
    features, _ = model.extract_feat(inputs, test_mode=True)
    assert model.backbone.calls == [4, 4, 4]
    torch.testing.assert_close(features, inputs.flatten(0, 1).mean((2, 3, 4)))


def test_too_large_chunks_are_halved_and_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 50)
    said: list[str] = []
    monkeypatch.setattr(recognizer.MMLogger.get_current_instance(), 'warning', said.append)
    model, inputs = record(most=3), views(1, 12)
    features, _ = model.extract_feat(inputs, test_mode=True)
    assert model.backbone.calls == [12, 6, 3, 3, 3, 3]
    torch.testing.assert_close(features, inputs[0].mean((2, 3, 4)))
    model.extract_feat(inputs, test_mode=True)
    assert model.backbone.calls[6:] == [3, 3, 3, 3]
    assert [re.search(r'with (\d+) views.*max_testing_views=(\d+)', text).groups() for text in said] == [
        ('6', '6'),
        ('3', '3'),
    ]


def test_one_view_that_does_not_fit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 2)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        record(most=0).extract_feat(views(1, 4), test_mode=True)


def test_a_fixed_number_is_kept() -> None:
    model = record(test_cfg=dict(max_testing_views=2))
    model.extract_feat(views(1, 5), test_mode=True)
    assert model.backbone.calls == [2, 2, 1]


def test_training_takes_the_batch_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 1)
    model = record()
    model.extract_feat(views(4, 1))
    assert model.backbone.calls == [4]


def test_tuples_of_features(monkeypatch: pytest.MonkeyPatch) -> None:
    set_chunk(monkeypatch, 2)
    model, inputs = build(next(case for case in CLIPS if case.name == 'timesformer-divided')), views(1, 3)
    model.backbone = Halves()
    (first, (second,)), _ = model.extract_feat(inputs, test_mode=True)
    assert torch.equal(first, inputs[0, :, :1]) and torch.equal(second, inputs[0, :, 1:])


class Halves(nn.Module):
    def forward(self, x: Tensor) -> tuple:
        return x[:, :1], (x[:, 1:],)


def test_cpu_takes_large_views_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 2)
    sizes = {(8, 224, 224): 1, (4, 128, 128): 5, (8, 32, 32): 42}
    shapes = {view: torch.empty(12, 1, 3, *view) for view in sizes}
    assert {view: views_at_a_time(lambda x: (x,), shape) for view, shape in shapes.items()} == sizes


def test_gpu_gives_half_of_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A view needs 60 of 600 that are free: 500 of the device, 100 of what the allocator holds."""
    memory = dict(memory_allocated=300, memory_reserved=400, max_memory_allocated=360, mem_get_info=(500, 1000))
    for name, value in memory.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda device: None)
    on_gpu = type('Views', (SimpleNamespace,), {'__getitem__': lambda self, at: at})(is_cuda=True, device='cuda')
    measured: list[slice] = []
    assert views_at_a_time(lambda first: measured.append(first) or (), on_gpu) == 5
    assert measured == [slice(None, 1)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu() -> None:
    model = build().cuda()
    inputs = torch.randn(1, 6, 3, *CLIPS[0].input, device='cuda')
    with torch.no_grad():
        features, _ = model.extract_feat(inputs, test_mode=True)
        expected = torch.cat([model.backbone(view[None]) for view in inputs[0]])
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)
    assert list(model._chunk_sizes.values())[0] > 6
