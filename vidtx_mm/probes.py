"""Probes of ``vidtx_mm.doctor``. Each runs a capability on a small scale and returns a summary, or raises.

``Unavailable`` marks a failure that needs no traceback.
"""

import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from vidtx_mm.repairs.environment import installed


class Unavailable(Exception):
    """A capability is missing; the message is complete without a traceback."""


def recognition() -> str:
    torch = import_module('torch')
    import_module('mmaction.models')
    model = import_module('mmaction.registry').MODELS.build(
        dict(
            type='mmaction.Recognizer3D',
            backbone=dict(
                type='vidtx_mm.VideoSwin',
                arch=dict(embed_dims=12, depths=(2,), num_heads=(1,)),
                window_size=(2, 2, 2),
                out_indices=(0,),
            ),
            cls_head=dict(type='vidtx_mm.VideoClsHead', num_classes=5, in_channels=12),
            data_preprocessor=dict(type='mmaction.ActionDataPreprocessor'),
        )
    )
    features, _ = model.eval().extract_feat(torch.rand(1, 1, 3, 4, 16, 16), stage='head')
    return f'a small Video Swin classifies a clip, scores of shape {tuple(features.shape)}'


_FRAMES = 8


def _write_clip(path: Path) -> None:
    cv2, np = import_module('cv2'), import_module('numpy')
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), 10, (32, 32))
    for value in range(_FRAMES):
        writer.write(np.full((32, 32, 3), 30 * value, np.uint8))
    writer.release()


def _decord(path: str) -> int:
    reader = import_module('decord').VideoReader(path)
    return sum(1 for index in range(len(reader)) if reader[index].shape == (32, 32, 3))


def _opencv(path: str) -> int:
    capture, frames = import_module('cv2').VideoCapture(path), 0
    while capture.read()[0]:
        frames += 1
    return frames


def _pyav(path: str) -> int:
    with import_module('av').open(path) as container:
        return sum(1 for _ in container.decode(video=0))


DECODERS: dict[str, Callable[[str], int]] = {'decord': _decord, 'OpenCV': _opencv, 'PyAV': _pyav}


def decoders() -> str:
    results, works = [], False
    for part in ('cv2', 'numpy'):
        if not installed(part):
            raise Unavailable(f'{part} is not installed, so no test clip can be written')
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / 'clip.mp4'
        _write_clip(clip)
        for name, count in DECODERS.items():
            try:
                frames = count(str(clip))
            except ModuleNotFoundError:
                results.append(f'{name} not installed')
            except Exception as error:
                results.append(f'{name} fails ({type(error).__name__}: {error})')
            else:
                works |= frames == _FRAMES
                results.append(f'{name} reads {frames} of {_FRAMES} frames')
    summary = ', '.join(results)
    if not works:
        raise Unavailable(summary)
    return summary


def mim() -> str:
    import_module('mim.cli')
    return f'openmim {import_module("mim.version").__version__} starts'


def gpu() -> str:
    torch = import_module('torch')
    if not torch.cuda.is_available():
        build = f'built for CUDA {torch.version.cuda}' if torch.version.cuda else 'a build without CUDA'
        raise Unavailable(f'torch {torch.__version__} ({build}) finds no CUDA device')
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f'{", ".join(names)}; CUDA {torch.version.cuda}; bf16 {"yes" if torch.cuda.is_bf16_supported() else "no"}'


def _operators() -> None:
    torch = import_module('torch')
    boxes, scores = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 3.9]]), torch.tensor([0.9, 0.8])
    kept = import_module('mmcv.ops').nms(boxes, scores, 0.5)[1]
    if kept.tolist() != [0]:
        raise RuntimeError(f'mmcv.ops.nms returns boxes {kept.tolist()}, expected [0]')


def detection() -> str:
    _operators()
    import_module('mmdet.models')
    return f'mmdet {import_module("mmdet").__version__} imports; the operators of mmcv work'


def pose() -> str:
    _operators()
    for part in ('models', 'datasets', 'visualization'):
        import_module(f'mmpose.{part}')
    return f'mmpose {import_module("mmpose").__version__} imports; the operators of mmcv work'


def segmentation() -> str:
    _operators()
    for part in ('models', 'datasets'):
        import_module(f'mmseg.{part}')
    return f'mmseg {import_module("mmseg").__version__} imports; the operators of mmcv work'


def image_classification() -> str:
    for part in ('models', 'datasets'):
        import_module(f'mmpretrain.{part}')
    return f'mmpretrain {import_module("mmpretrain").__version__} imports'
