"""UniFormer's checkpoints: recognition, inflation, class orders, and what the weights do not show."""

import re

import protocol
import pytest
import torch
from helpers import randomized
from torch import nn

from vidtx_mm.backbones import ImageUniFormer, ImageUniFormerLight, VideoUniFormer, VideoUniFormerLight
from vidtx_mm.heads import VideoClsHead, VideoTokenClsHead
from vidtx_mm.weights import CheckpointError, load_pretrained
from vidtx_mm.weights.labels import PERMUTATIONS

TINY = dict(depths=(1, 2, 2, 1), embed_dims=(8, 8, 16, 16), head_dim=8, mlp_ratio=2.0)
LIKE_PUBLISHED = dict(TINY, embed_dims=(8, 8, 64, 64), head_dim=64)


class Classifier(nn.Module):
    """A backbone and a head, as a recognizer has them."""

    def __init__(self, backbone: nn.Module, classes: int = 5) -> None:
        super().__init__()
        self.backbone = backbone
        self.cls_head = VideoClsHead(num_classes=classes, in_channels=backbone.out_channels[-1])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.cls_head(self.backbone(x))


def official(model: nn.Module) -> dict[str, torch.Tensor]:
    """A classifier's weights under the official names."""
    renamed = {}
    for key, value in model.state_dict().items():
        key = re.sub(r'^cls_head\.fc_cls\.', 'head.', key.removeprefix('backbone.'))
        renamed[key] = value.clone()
    return renamed


def video(classes: int = 5, **kwargs) -> Classifier:
    return Classifier(VideoUniFormer(**{'arch': LIKE_PUBLISHED, **kwargs}), classes).eval()


def image(classes: int = 5, **kwargs) -> Classifier:
    return Classifier(ImageUniFormer(**{'arch': LIKE_PUBLISHED, 'final_norm': True, **kwargs}), classes).eval()


@pytest.mark.parametrize('rule, name', [('mean', 'average'), ('center', 'centre')])
def test_official_inflation(rule, name):
    case = protocol.case(f'inflate_uniformer_s_{name}')
    drawn = protocol.fill({key: shape for key, shape, *_ in case['input_state_dict']})
    file = {key: torch.from_numpy(array).double() for key, array in drawn.items()}
    file |= {key: torch.zeros(()) for key, shape, *_ in case['input_state_dict'] if key not in file}
    model = VideoUniFormer().double()
    report = load_pretrained(model, {'model': file}, inflate=rule)
    found = model.state_dict()
    assert set(report.keys('inflated')) == set(case['outputs'])
    for key, expected in case['outputs'].items():
        assert protocol.compare(expected, found[key]) < 1e-6
    copied = [key for key in case['copied_unchanged'] if 'num_batches' not in key]
    assert all(torch.equal(found[key], file[key]) for key in copied)
    assert report.coverage == 1


def test_the_published_rule_is_the_default():
    file = official(randomized(image()))
    models = [VideoUniFormer(LIKE_PUBLISHED) for _ in range(2)]
    report = load_pretrained(models[0], file)
    load_pretrained(models[1], file, inflate='mean')
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict(), rtol=0, atol=0)
    assert any("inflated by 'mean'" in note and "'center'" in note for note in report.notes)


def still_and_image(rule: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What the first stage makes of a clip of one repeated frame, (16, H, W, C), and of the frame, (H, W, C)."""
    torch.manual_seed(0)
    source = randomized(image()).double()
    model = VideoUniFormer(LIKE_PUBLISHED).eval().double()
    load_pretrained(model, official(source), inflate=rule)
    outputs = []
    for backbone in (model, source.backbone):
        backbone.blocks1[-1].register_forward_hook(lambda module, args, out: outputs.append(out[0]))
    picture = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    clip = model(picture[:, :, None].expand(-1, -1, 32, -1, -1))
    still = source.backbone(picture)
    if rule == 'center':
        torch.testing.assert_close(clip, still[:, :, None].expand_as(clip))
    return outputs[0], outputs[1]


def test_still_clip_equals_the_image_under_center():
    clip, picture = still_and_image('center')
    torch.testing.assert_close(clip, picture.expand_as(clip))


def test_still_clip_differs_at_the_ends_under_mean():
    """The averaged kernels meet the zero padding: the stem at its first token, each block up to three tokens inside."""
    clip, picture = still_and_image('mean')
    equal = [torch.allclose(frame, picture, atol=1e-9) for frame in clip]
    assert equal == [False] * 4 + [True] * 9 + [False] * 3


@pytest.mark.parametrize('container', ['raw', 'model', 'model_state', 'state_dict'])
def test_official_video_file(container):
    source, model = randomized(video()), video()
    file = official(source)
    report = load_pretrained(model, file if container == 'raw' else {container: file, 'epoch': 1})
    assert report.source == 'official video UniFormer' and report.coverage == 1
    torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_mmaction_file():
    """Its keys are ours, so that it is recognized as MMAction2's only where the model has more."""
    source, model = randomized(video(400)), video(400, attention='split')
    report = load_pretrained(model, source.state_dict())
    assert report.source == 'MMAction2 1.x UniFormer'
    assert torch.equal(model.backbone.blocks3[0].attn.qkv.weight, source.backbone.blocks3[0].attn.qkv.weight)
    assert torch.equal(model.cls_head.fc_cls.weight, source.cls_head.fc_cls.weight)


@pytest.mark.parametrize('classes, order', [(400, 'uniformer_k400'), (600, 'uniformer_k600'), (174, 'uniformer_ssv1')])
def test_orders_are_permutations(classes, order):
    assert sorted(PERMUTATIONS[order]) == list(range(classes))


def test_kinetics_anchors():
    """The official lists begin with 'riding a bike', 'marching' and with 'feeding fish', 'poking bellybutton'."""
    assert PERMUTATIONS['uniformer_k400'][:2] == (267, 192)
    assert PERMUTATIONS['uniformer_k600'][:2] == (175, 380)


def loaded_rows(classes: int, **options) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """The classifier in the file and in the model, and the notes."""
    source, model = randomized(video(classes)), video(classes)
    report = load_pretrained(model, official(source), **options)
    joined = [torch.cat([m.cls_head.fc_cls.weight, m.cls_head.fc_cls.bias[:, None]], 1) for m in (source, model)]
    return joined[0], joined[1], report.notes


@pytest.mark.parametrize(
    'classes, options, order',
    [
        (400, dict(), 'uniformer_k400'),
        (400, dict(class_order='uniformer_k400'), 'uniformer_k400'),
        (600, dict(), 'uniformer_k600'),
        (174, dict(class_order='uniformer_ssv1'), 'uniformer_ssv1'),
    ],
)
def test_classes_come_in_the_order_of_the_lists(classes, options, order):
    file, model, notes = loaded_rows(classes, **options)
    for row in (0, 1, classes - 1):
        assert torch.equal(model[PERMUTATIONS[order][row]], file[row])
    assert any(order in note and "class_order='as_is'" in note for note in notes)


@pytest.mark.parametrize(
    'classes, options, note',
    [
        (400, dict(class_order='as_is'), None),
        (174, dict(), "for V1 set class_order='uniformer_ssv1'"),
        (600, dict(class_order='as_is'), None),
        (101, dict(), None),
    ],
)
def test_other_orders_stay(classes, options, note):
    file, model, notes = loaded_rows(classes, **options)
    assert torch.equal(model, file)
    assert any(note in n for n in notes) if note else not any('order' in n for n in notes)


def test_own_files_keep_their_order():
    """What was trained here, or converted by MMAction2, already follows the lists."""
    source, model = randomized(video(400)), video(400)
    load_pretrained(model, {'state_dict': source.state_dict()})
    torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_order_of_other_length():
    with pytest.raises(CheckpointError, match="class_order='uniformer_k400' is for 400 classes.*has 174"):
        loaded_rows(174, class_order='uniformer_k400')


def test_unknown_order():
    with pytest.raises(ValueError, match="class_order='k400': choose one of .*'uniformer_k400'"):
        loaded_rows(400, class_order='k400')


def test_bgr_is_said():
    assert any('BGR' in note and 'to_rgb=True' in note for note in loaded_rows(174)[2])
    assert not any('BGR' in note for note in loaded_rows(400)[2])


@pytest.mark.parametrize(
    'kwargs, labeled, note',
    [
        (dict(), False, None),
        (
            dict(arch=dict(LIKE_PUBLISHED, head_dim=32)),
            False,
            'the model has 32: published files of this format have 64',
        ),
        (dict(arch=dict(LIKE_PUBLISHED, conv_stem=True)), False, 'the model has 64: published S[+] files have 32'),
        (dict(), True, 'the model has 64: published token-labeling files have 32'),
        (dict(arch=dict(LIKE_PUBLISHED, layer_scale=1e-6)), True, 'the model has 64: the published code of L has 64'),
    ],
)
def test_head_dim_is_doubted(kwargs, labeled, note):
    source, model = randomized(image(**kwargs)), image(**kwargs)
    file = official(source)
    if labeled:
        file |= {'aux_head.weight': torch.zeros(5, 64), 'aux_head.bias': torch.zeros(5)}
    notes = load_pretrained(model.backbone if labeled else model, {'model': file}).notes
    assert [bool(re.search(note, n)) for n in notes] == [True] if note else notes == []


def test_head_dim_of_other_forms_is_doubted():
    """The ported video files and the dense ones were all made with 64."""
    arch = dict(LIKE_PUBLISHED, head_dim=32)
    ported = load_pretrained(video(attention='split', arch=arch), video().state_dict())
    file = {f'backbone.{key}': value for key, value in ImageUniFormer(LIKE_PUBLISHED).state_dict().items()}
    dense = load_pretrained(ImageUniFormer(arch, out_indices=3), file)
    for report, title in ((ported, 'MMAction2 1.x UniFormer'), (dense, 'official UniFormer for dense prediction')):
        assert report.source == title
        assert ['the model has 32: published files of this format have 64' in note for note in report.notes] == [True]


def test_token_labeling_head_is_named():
    """A plain head would lose accuracy, so that it is refused; a backbone and a video model take the file."""
    source, model = randomized(image()), image()
    file = official(source) | {'aux_head.weight': torch.zeros(5, 64), 'aux_head.bias': torch.zeros(5)}
    with pytest.raises(
        CheckpointError, match='(?s)cls_head.fc_aux.*aux_head is .* of token labeling.*token_labels=True'
    ):
        load_pretrained(model, file)
    report = load_pretrained(model.backbone, file)
    assert set(report.keys('dropped')) == {'aux_head.weight', 'aux_head.bias', 'head.weight', 'head.bias'}
    torch.testing.assert_close(model.backbone.state_dict(), source.backbone.state_dict(), rtol=0, atol=0)
    assert {'aux_head.weight', 'head.bias'} <= set(load_pretrained(video(), file).keys('dropped'))


def test_layer_scale_needs_its_arch():
    file = official(randomized(image(arch=dict(LIKE_PUBLISHED, layer_scale=1e-6))))
    remedy = (
        "(?s)in the file, not in the model.*blocks3.0.gamma_1.*are layer scale: arch 'base-ls'.*a dict with layer_scale"
    )
    for model in (image(), VideoUniFormer(LIKE_PUBLISHED)):
        before = {key: value.clone() for key, value in model.state_dict().items()}
        with pytest.raises(CheckpointError, match=remedy):
            load_pretrained(model, file)
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    scaled = dict(LIKE_PUBLISHED, layer_scale=1e-6)
    for model in (image(arch=scaled), VideoUniFormer(scaled)):
        assert load_pretrained(model, file).coverage == 1


def test_plus_file_into_a_video_model():
    """All four down-samplings and the stem's two convolutions gain a time axis."""
    arch = dict(LIKE_PUBLISHED, conv_stem=True)
    source, model = randomized(image(arch=arch)), VideoUniFormer(arch)
    report = load_pretrained(model, official(source))
    assert report.coverage == 1
    stem, flat = model.patch_embed1.proj[3].weight, source.backbone.patch_embed1.proj[3].weight
    torch.testing.assert_close(stem, flat[:, :, None].expand_as(stem) / 3)
    kernels = {f'patch_embed{stage}.proj.0.weight' for stage in range(1, 5)} | {'patch_embed1.proj.3.weight'}
    assert kernels <= set(report.keys('inflated'))


def test_other_archs_are_named():
    plus = official(randomized(image(arch=dict(LIKE_PUBLISHED, conv_stem=True))))
    with pytest.raises(CheckpointError, match="(?s)is a convolution: arch 'small-plus', or a dict with conv_stem=True"):
        load_pretrained(image(), plus)
    light = official_light(randomized(LightClassifier(VideoUniFormerLight)))
    with pytest.raises(CheckpointError, match='(?s)cls_token is of the light models: VideoUniFormerLight'):
        load_pretrained(VideoUniFormer(LIGHT), light)


def test_dense_model_from_imagenet():
    """The norms of the stages stay at 1 and 0; the classifier and its BatchNorm are dropped, and named."""
    source, model = randomized(image()), ImageUniFormer(LIKE_PUBLISHED, stage3='hybrid')
    report = load_pretrained(model, {'model': official(source)})
    assert set(report.keys('left at init')) == {f'norm{i}.{p}' for i in range(1, 5) for p in ('weight', 'bias')}
    parts = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
    assert set(report.keys('dropped')) == {'head.weight', 'head.bias', *(f'norm.{p}' for p in parts)}
    assert torch.equal(model.blocks3[0].attn.qkv.weight, source.backbone.blocks3[0].attn.qkv.weight)


def test_split_attention_from_joint():
    source, model = randomized(video()), VideoUniFormer(LIKE_PUBLISHED, attention='split')
    report = load_pretrained(model, official(source))
    assert all(re.fullmatch(r'blocks[34]\.\d\.t_(norm|attn)\..+', key) for key in report.keys('left at init'))
    assert torch.equal(model.blocks3[0].attn.qkv.weight, source.backbone.blocks3[0].attn.qkv.weight)


class Estimator(nn.Module):
    """A pose model: the last map of the backbone, and a head of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = ImageUniFormer(LIKE_PUBLISHED, out_indices=3)
        self.head = nn.Module()
        self.head.deconv_layers = nn.Sequential(nn.ConvTranspose2d(64, 4, 4))


def test_published_pose_model():
    """Its head was renamed by mmpose 1.x, and the norms of the stages that it does not use are in the file."""
    source, model = randomized(Estimator()), Estimator()
    file = {key.replace('head.', 'keypoint_head.', 1): value.clone() for key, value in source.state_dict().items()}
    file |= {f'backbone.norm{i}.{p}': torch.ones(8) for i in (1, 2) for p in ('weight', 'bias')}
    file |= {f'backbone.norm3.{p}': torch.ones(64) for p in ('weight', 'bias')}
    report = load_pretrained(model, {'state_dict': file})
    assert report.source == 'official UniFormer for dense prediction' and report.coverage == 1
    torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_video_file_into_image_model():
    with pytest.raises(CheckpointError, match='3-D.*the model is 2-D'):
        load_pretrained(image(), official(randomized(video())))


def test_dense_file_lacks_the_final_norm():
    file = {f'backbone.{key}': value for key, value in ImageUniFormer(LIKE_PUBLISHED).state_dict().items()}
    model = VideoUniFormer(LIKE_PUBLISHED)
    with pytest.raises(
        CheckpointError, match=r"in the model, not in the file(?s:.*)norm\.weight(?s:.*)keep_init='norm"
    ):
        load_pretrained(model, file)
    report = load_pretrained(model, file, keep_init=r'norm\..+')
    assert {key.partition('.')[0] for key in report.keys('left at init')} == {'norm'}
    assert report.keys('inflated')


LIGHT = dict(TINY, depths=(1, 1, 2, 1))


class LightClassifier(nn.Module):
    """The published light model: a classifier of the map and one of the class token."""

    def __init__(self, cls: type, classes: int = 5, **kwargs) -> None:
        super().__init__()
        self.backbone = cls(**{'arch': LIGHT, 'class_token': True, **kwargs})
        self.cls_head = VideoTokenClsHead(classes, 16)


def official_light(model: LightClassifier) -> dict[str, torch.Tensor]:
    return {key.replace('cls_head.fc_token.', 'head_cls.'): value for key, value in official(model).items()}


def test_light_file_with_both_classifiers():
    source, model = (LightClassifier(VideoUniFormerLight, classes=400) for _ in range(2))
    file = official_light(randomized(source))
    assert {'cls_token', 'head.weight', 'head_cls.bias', 'norm_cls.weight', 'patch_embed1.proj.4.bias'} <= set(file)
    assert load_pretrained(model, file, class_order='as_is').coverage == 1
    torch.testing.assert_close(model.state_dict(), source.state_dict(), rtol=0, atol=0)
    load_pretrained(model, file)
    order = PERMUTATIONS['uniformer_k400']
    for part in ('fc_cls', 'fc_token'):
        ours, theirs = (getattr(m.cls_head, part).weight for m in (model, source))
        assert torch.equal(ours[order[7]], theirs[7])


def test_light_file_for_testing_alone():
    source = randomized(LightClassifier(VideoUniFormerLight))
    model = Classifier(VideoUniFormerLight(LIGHT))
    report = load_pretrained(model, official_light(source))
    assert set(report.keys('dropped')) == {'head_cls.weight', 'head_cls.bias', 'norm_cls.weight', 'norm_cls.bias'}
    assert report.coverage == 1


def test_light_image_file_into_light_video():
    source = randomized(LightClassifier(ImageUniFormerLight, final_norm=True))
    model = VideoUniFormerLight(LIGHT)
    report = load_pretrained(model, official_light(source), inflate='mean')
    assert report.coverage == 1
    stem, flat = model.patch_embed1.proj[3].weight, source.backbone.patch_embed1.proj[3].weight
    torch.testing.assert_close(stem, flat[:, :, None].expand_as(stem) / 3)
    scaled = VideoUniFormerLight(dict(LIGHT, layer_scale=0.1))
    left = load_pretrained(scaled, official_light(source)).keys('left at init')
    assert len(left) == 2 * 5 and all('gamma' in key for key in left)
