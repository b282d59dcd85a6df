"""Every tensor is checked before the first is copied: an error names file and remedy, and changes no model."""

import re

import numpy as np
import pytest
import torch
from forms import official, video_swin
from helpers import Recognizer, randomized

from vidtx_mm.backbones import VideoUniFormer
from vidtx_mm.weights import CheckpointError, load_pretrained, open_checkpoint
from vidtx_mm.weights.formats import _damaged_entry

KEY = 'backbone.layers.2.blocks.1.mlp.fc1.weight'
LAST = 'backbone.norm.weight'


@pytest.fixture
def weights():
    return official(randomized(video_swin()))


def unchanged(model, file, message):
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=f'(?s){message}') as caught:
        load_pretrained(model, file)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    return str(caught.value)


def holed(tensor, value):
    tensor = tensor.clone()
    tensor.view(-1)[-1] = value
    return tensor


BAD = {
    'integers': (lambda x: x.int(), 'torch.int32 in the file, torch.float32 in the model: save it as torch.float32'),
    'booleans': (lambda x: x > 0, 'torch.bool in the file, torch.float32 in the model'),
    'complex': (lambda x: x + 1j, 'torch.complex64 in the file, torch.float32 in the model'),
    'float8': (lambda x: x.to(torch.float8_e4m3fn), 'torch.float8_e4m3fn in the file'),
    'nan': (lambda x: holed(x, torch.nan), r'1 of \d+ values are NaN or infinite: use another .* allow_nonfinite=True'),
    'inf': (lambda x: holed(x, -torch.inf), r'1 of \d+ values are NaN or infinite'),
    'inf in half': (lambda x: holed(x.half(), torch.inf), r'1 of \d+ values are NaN or infinite'),
    'sparse': (lambda x: x.to_sparse(), 'is a sparse_coo tensor: save it as a dense tensor'),
    'sparse rows': (lambda x: x.to_sparse_csr() if x.ndim == 2 else x.to_sparse(), 'is a sparse_(csr|coo) tensor'),
    'mkldnn': (lambda x: x.to_mkldnn(), 'is a _mkldnn tensor: save it as a dense tensor'),
    'meta': (lambda x: x.to('meta'), 'is a meta tensor'),
    'quantized': (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.qint8), 'is a quantized tensor'),
    'a scalar': (lambda x: x.sum(), r'shape mismatch \(1\)|match no known source'),
    'one more axis': (lambda x: x[None], r'shape mismatch \(1\)|match no known source'),
    'two axes less': (lambda x: x.flatten()[0:1], r'shape mismatch \(1\)|match no known source'),
    'no values': (lambda x: x[:0], r'shape mismatch \(1\)'),
    'strings': (lambda x: np.array(['a', 'b']), 'is an array of <U1, not of numbers: remove it from the file'),
    'objects': (lambda x: np.array([None, {}]), 'is an array of object, not of numbers'),
    'long doubles': (lambda x: x.numpy().astype(np.longdouble), 'is an array of float128: save it as float32'),
}
PLACES = [KEY, LAST, 'backbone.patch_embed.proj.weight', 'cls_head.fc_cls.weight', 'cls_head.fc_cls.bias']


@pytest.mark.parametrize('spoil, message', BAD.values(), ids=BAD)
@pytest.mark.parametrize('key', PLACES)
def test_the_model_is_unchanged(weights, key, spoil, message):
    weights[key] = spoil(weights[key])
    text = unchanged(Recognizer(video_swin()), weights, message)
    assert text.startswith('a dict in memory')


def test_tables_of_other_ranks(weights):
    key = 'backbone.layers.1.blocks.0.attn.relative_position_bias_table'
    for spoilt in (weights[key].sum(), weights[key][:, 0], weights[key][None]):
        unchanged(Recognizer(video_swin()), {**weights, key: spoilt}, r'shape mismatch \(1\)')


def test_values_that_are_not_finite_can_be_allowed(weights):
    weights[KEY] = holed(weights[KEY], torch.nan)
    model = Recognizer(video_swin())
    load_pretrained(model, weights, allow_nonfinite=True)
    assert model.state_dict()[KEY].isnan().sum() == 1


@pytest.mark.parametrize('classes', [5, 7])
def test_weight_and_bias_are_taken_together_or_not_at_all(weights, classes):
    """The bias of five classes fits the model, the weight of seven does not."""
    weights['cls_head.fc_cls.weight'] = torch.ones(7, 64)
    unchanged(Recognizer(video_swin(), classes=classes), weights, r'shape mismatch \(1\):\n    cls_head.fc_cls')
    weights['cls_head.fc_cls.bias'] = torch.ones(7)
    report = load_pretrained(Recognizer(video_swin()), weights)
    assert report.keys('left at init') == ['cls_head.fc_cls.weight', 'cls_head.fc_cls.bias']


def test_keys_that_are_not_strings(weights):
    unchanged(Recognizer(video_swin()), {**weights, 3: torch.ones(1)}, 'the keys 3 are not strings: save model.state')


def test_a_model_on_the_meta_device(weights):
    with torch.device('meta'):
        model = video_swin()
    with pytest.raises(CheckpointError, match=r'a dict in memory: VideoSwin is on the meta device: call its to_empty'):
        load_pretrained(model, weights)


def test_big_endian_arrays_are_read(tmp_path):
    values = np.arange(6.0).reshape(2, 3)
    np.savez(tmp_path / 'a.npz', a=values.astype('>f4'), b=np.array(2, '>i8'))
    tensors = open_checkpoint(tmp_path / 'a.npz').tensors
    assert tensors['a'].tolist() == values.tolist() and tensors['b'].item() == 2 and tensors['b'].ndim == 0


@pytest.mark.parametrize(
    'array, message',
    [
        (np.array([None]), 'arrays of Python objects: save arrays of numbers'),
        (np.array(['a']), 'a is an array of <U1, not of numbers'),
    ],
)
def test_npz_files_of_other_things(tmp_path, array, message):
    np.savez(tmp_path / 'a.npz', a=array)
    with pytest.raises(CheckpointError, match=f'{re.escape(str(tmp_path / "a.npz"))}.*{message}'):
        open_checkpoint(tmp_path / 'a.npz')


@pytest.mark.parametrize('place', range(0, 2000, 250))
def test_flipped_bits_are_found_by_the_checksums(tmp_path, place):
    path = tmp_path / 'a.pth'
    torch.save({'a': torch.arange(1000.0)}, path)
    content = bytearray(path.read_bytes())
    start = content.index(torch.arange(1.0, 9.0).numpy().tobytes())
    content[start + place] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r'a\.pth is a damaged PyTorch file \(checksum of .*data/0\): delete'):
        open_checkpoint(path)


def test_files_without_checksums_are_read(tmp_path):
    if not hasattr(torch.serialization, 'set_crc32_options'):  # torch before 2.6 always writes them
        return
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({'a': torch.ones(1000)}, tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    assert not _damaged_entry(tmp_path / 'a.pth')
    assert open_checkpoint(tmp_path / 'a.pth').tensors['a'].sum() == 1000


@pytest.mark.parametrize(
    'name, message',
    [
        ('a' * 300 + '.pth', 'cannot be read .*too long.*: check the path'),
        ('~nobody_of_that_name/a.pth', 'cannot be read .*: check the path'),
        ('a\0.pth', 'does not exist|cannot be read'),
        ('http://[::1/a.pth', r'http://\[::1/a\.pth is not a valid web address .*: correct it'),
        ('https://host/a b.pth', 'not a valid web address: write %20 for a space'),
        ('https://host:port/a.pth', 'cannot download https://host:port/a.pth'),
        ('https://host/' + 'a' * 300 + '.pth', 'cannot download .*too long'),
    ],
)
def test_bad_names(name, message, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(name)


def test_a_counter_that_files_may_lack():
    """num_batches_tracked of BatchNorm is no mismatch: no output depends on it."""
    arch = dict(embed_dims=(8, 8, 16, 16), depths=(1, 1, 1, 1), head_dim=8, mlp_ratio=2.0)
    first, second = randomized(VideoUniFormer(arch)), VideoUniFormer(arch)
    file = {key: value for key, value in first.state_dict().items() if not key.endswith('num_batches_tracked')}
    report = load_pretrained(second, file)
    assert report.source == 'vidtx_mm' and report.coverage == 1
    assert {key.rpartition('.')[2] for key in report.keys('left at init')} == {'num_batches_tracked'}
    assert torch.equal(second.norm.running_var, first.norm.running_var)
