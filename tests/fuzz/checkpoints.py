"""The target 'checkpoints': ``load_pretrained`` of mutated files, four families in all containers."""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from containers import CONTAINERS, State
from forms import TINY as SWIN
from forms import official, torchvision
from harness import Case
from helpers import Recognizer, randomized
from mutations import BYTE_MUTATIONS, STATE_MUTATIONS, mutate_bytes
from torch import Tensor
from vivit_forms import TINY as VIVIT
from vivit_forms import flax, with_head

from vidtx_mm.backbones import VideoSwin, VideoTimeSformer, VideoUniFormer, ViViT
from vidtx_mm.weights import CheckpointError, LoadReport, load_pretrained

TIMESFORMER = dict(arch=dict(embed_dims=16, depth=2, num_heads=2), img_size=32, patch_size=8, num_frames=4)
UNIFORMER = dict(arch=dict(depths=(1, 1, 1, 1), embed_dims=(8, 8, 16, 16), head_dim=8, mlp_ratio=2.0))


def own(model: Recognizer) -> State:
    return dict(model.state_dict())


def official_timesformer(model: Recognizer) -> State:
    head = {f'model.head.{key}': value for key, value in model.cls_head.fc_cls.state_dict().items()}
    return {f'model.{key}': value for key, value in model.backbone.state_dict().items()} | head


def scenic(model: Recognizer) -> State:
    return {key: torch.from_numpy(value.copy()) for key, value in flax(_with_head(model)).items()}


def _with_head(model: Recognizer) -> State:
    return with_head(model.backbone.state_dict(), 'head')


# family -> (backbone, forms of its state dict)
FAMILIES: dict[str, tuple[Callable[[], torch.nn.Module], tuple[Callable[[Recognizer], State], ...]]] = {
    'Video Swin': (
        lambda: VideoSwin(**SWIN),
        (own, lambda model: official(model.backbone), lambda model: torchvision(official(model.backbone))),
    ),
    'UniFormer': (lambda: VideoUniFormer(**UNIFORMER), (own,)),
    'ViViT': (lambda: ViViT(**VIVIT), (own, scenic)),
    'TimeSformer': (lambda: VideoTimeSformer(**TIMESFORMER), (own, official_timesformer)),
}


@cache
def pristine(family: str, form: int) -> State:
    """Return a state dict to mutate; each call of a form gives equal values."""
    torch.manual_seed(0)
    build, forms = FAMILIES[family]
    return {key: value.detach().clone() for key, value in forms[form](randomized(Recognizer(build()))).items()}


def model_of(family: str) -> Recognizer:
    torch.manual_seed(1)
    return Recognizer(FAMILIES[family][0]())


def _copy(model: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


def _actions(report: LoadReport) -> list[tuple[str, str]]:
    return sorted((record.key, record.action) for record in report.records)


def _close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    """Compare up to the rounding of bfloat16."""
    return all(torch.allclose(value, expected[key], rtol=1e-2, atol=1e-6) for key, value in found.items())


def checkpoint(draw: random.Random, folder: Path) -> Case:
    """Write a mutated checkpoint."""
    family = draw.choice(list(FAMILIES))
    form = draw.randrange(len(FAMILIES[family][1]))
    container = draw.choice(list(CONTAINERS))
    suffix, write = CONTAINERS[container]
    state: Any = dict(pristine(family, form))
    if suffix == 'npz' and any('/' in key for key in state):
        state = {f'opt/target/{key}': value for key, value in state.items()}
    names = [name for name, (_, containers) in STATE_MUTATIONS.items() if container in containers]
    mutation = draw.choice([*names, *BYTE_MUTATIONS])
    path = folder / f'mutated.{suffix}'
    if mutation in BYTE_MUTATIONS:
        write(state, path)
        mutate_bytes(draw, path, mutation)
    else:
        STATE_MUTATIONS[mutation][0](draw, state, folder)
        write(state, path)
    reference = model_of(family)
    expected_report = load_pretrained(reference, dict(pristine(family, form)))

    def run() -> tuple[str, str]:
        model = model_of(family)
        before = _copy(model)
        try:
            report = load_pretrained(model, path)
        except CheckpointError as error:
            if not all(torch.equal(value, before[key]) for key, value in model.state_dict().items()):
                return 'half changed', str(error)
            named = path.name in str(error) and len(str(error)) > len(str(path)) + 20
            return 'clear error' if named else 'unclear error', str(error)
        if _close(_copy(model), _copy(reference)) or _actions(report) != _actions(expected_report):
            return 'ok', ''
        return 'silent', ''

    return Case(container, f'{mutation} ({family})', run)
