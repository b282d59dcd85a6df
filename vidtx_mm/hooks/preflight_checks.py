"""The rows of the preflight table: each check reads a Runner and yields findings."""

import io
import pickle
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

FILE_SECONDS = 0.3  # spent on looking for files, for each data set
CROPS = {'ThreeCrop': 3, 'TenCrop': 10}
LABELED = {'label': 'videos', 'gt_label': 'images'}  # the key of a label in MMAction2 and in mmpretrain


@dataclass(frozen=True)
class Finding:
    """A row of the table; ``level`` is 'ok', 'doubt' or 'error'."""

    subject: str
    text: str
    level: str = 'ok'


def data(runner: Runner) -> Iterator[Finding]:
    """Length, classes and labels of the lists for training and validation, and whether the files are there."""
    classes = _head_classes(runner)
    loaders = {'training': runner.train_dataloader}
    if runner.val_loop is not None:
        loaders['validation'] = runner.val_dataloader
    for name, loader in loaders.items():
        entries = _entries(loader.dataset)
        subject = f'{name} data'
        key, what = next((item for item in LABELED.items() if entries and item[0] in entries[0]), ('', 'samples'))
        if not key:
            yield Finding(subject, f'{len(loader.dataset):,} {what}')
            continue
        labels = {label for entry in entries for label in _labels(entry[key])}
        yield Finding(subject, f'{len(entries):,} {what} of {len(labels)} classes')
        if classes is not None and (wrong := sorted(label for label in labels if not 0 <= label < classes)):
            yield Finding(
                subject,
                f'labels {_some(wrong)} do not fit the {classes} classes of the head (0 to {classes - 1}): set '
                'num_classes, or correct the list',
                'error',
            )
        if name == 'training' and classes is not None and (absent := sorted(set(range(classes)) - labels)):
            yield Finding(subject, f'no {what[:-1]} of {len(absent)} of {classes} classes ({_some(absent)})', 'doubt')
        yield from _files(subject, entries)


def classes(runner: Runner) -> Iterator[Finding]:
    """The number of classes of head, data sets and blending."""
    model, head = _model(runner), _head_classes(runner)
    if head is None:
        return
    numbers: dict[str, int | None] = {}
    for name in ('train', 'val', 'test'):
        settings = _dataset(runner.cfg.get(f'{name}_dataloader'))
        numbers[f'{name}_dataloader.dataset.num_classes'] = settings.get('num_classes')
    blending = getattr(getattr(model, 'data_preprocessor', None), 'blending', None)
    for augment in getattr(blending, 'augments', [blending]):
        numbers[f'num_classes of {type(augment).__name__}'] = getattr(augment, 'num_classes', None)
    unlike = [f'{key} = {value}' for key, value in numbers.items() if value not in (None, head)]
    if unlike:
        yield Finding(
            'classes', f'model.cls_head.num_classes = {head}, but {", ".join(unlike)}: make them equal', 'error'
        )
    else:
        yield Finding('classes', str(head))


def preprocessing(runner: Runner) -> Iterator[Finding]:
    """Mean and std of the data preprocessor."""
    settings = runner.cfg.get('model', {}).get('data_preprocessor', {})
    mean, std = settings.get('mean'), settings.get('std')
    if mean is None or std is None:
        return
    text = f'mean {list(mean)}, std {list(std)}'
    if len(mean) != len(std) or len(mean) not in (1, 3):
        yield Finding('preprocessing', f'{text}: give three values each, one for each channel', 'error')
    elif len(mean) == 1:
        yield Finding('preprocessing', f'{text}: one value for three channels?', 'doubt')
    elif min(std) <= 0:
        yield Finding('preprocessing', f'{text}: values of std must be positive', 'error')
    elif max(std) <= 1 < max(mean):
        yield Finding('preprocessing', f'{text}: mean counts from 0 to 255, std from 0 to 1?', 'doubt')
    else:
        yield Finding('preprocessing', text)


def batch(runner: Runner) -> Iterator[Finding]:
    """Clips of an optimizer step against those that the recipe's learning rate is made for."""
    cfg, loader = runner.cfg, runner.train_dataloader
    size = getattr(loader, 'batch_size', None) or getattr(loader.batch_sampler, 'batch_size', None)
    if size is None:
        return
    repeats = getattr(_innermost(loader.dataset), 'num_repeats', 1)
    steps = getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    clips = runner.world_size * size * repeats * steps
    factors = [(runner.world_size, 'processes'), (size, 'videos'), (repeats, 'repeats'), (steps, 'batches accumulated')]
    text = f'{clips} clips a step ({" x ".join(f"{n} {what}" for n, what in factors if n > 1 or what == "videos")})'
    recipe = cfg.get('clips_per_step')
    scaled = (cfg.get('auto_scale_lr') or {}).get('enable', False)
    if recipe is None or recipe == clips or scaled:
        yield Finding('batch', text + (', learning rate scaled by auto_scale_lr' if scaled else ''))
        return
    rate = cfg.optim_wrapper.optimizer.get('lr')
    counts = recipe / (runner.world_size * size * repeats)
    accumulate = f', or optim_wrapper.accumulative_counts={counts:.0f}' if counts >= 1 and counts.is_integer() else ''
    yield Finding(
        'batch',
        f'{text}, but the learning rate {rate:g} is made for {recipe}: use {rate * clips / recipe:.3g}{accumulate}',
        'doubt',
    )


def views(runner: Runner) -> Iterator[Finding]:
    """Clips and crops of a video in validation and test."""
    (val_clips, val_crops), (clips, crops) = (_views(runner.cfg.get(f'{part}_dataloader')) for part in ('val', 'test'))
    if val_clips * val_crops * clips * crops == 1:
        return
    unlike = (val_clips, val_crops) != (clips, crops)
    text = f'validation {val_clips} x {val_crops}, test {clips} x {crops} (clips x crops)'
    yield Finding('views', text + (': the two results are not comparable' if unlike else ''))


def size(runner: Runner) -> Iterator[Finding]:
    """Clip length and crop against those that the model's position embeddings are made for."""
    model = runner.cfg.get('model', {}).get('backbone', {})
    parameters = signature(type(_model(runner).backbone).__init__).parameters
    expected = {
        name: model.get(name, parameters[name].default) for name in ('num_frames', 'img_size') if name in parameters
    }
    steps = _dataset(runner.cfg.get('train_dataloader')).get('pipeline', [])
    frames = next((step['clip_len'] for step in steps if 'clip_len' in step), None)
    crop = _crop(steps)
    unlike = []
    if 'num_frames' in expected and frames not in (None, expected['num_frames']):
        unlike.append(f'clips of {frames} frames for num_frames={expected["num_frames"]}')
    if 'img_size' in expected and crop not in (None, _two(expected['img_size'])):
        unlike.append(f'crops of {crop} for img_size={expected["img_size"]}')
    if unlike:
        yield Finding('size', f'{", ".join(unlike)}: position embeddings are interpolated at every step', 'doubt')
    elif frames:
        yield Finding('size', f'{frames} frames' + (f' of {crop[1]} x {crop[0]}' if crop else ''))


def processes(runner: Runner) -> Iterator[Finding]:
    """Processes against GPUs, and mixed precision against the device."""
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    text = f'{runner.world_size}, {gpus} GPUs visible'
    if gpus > runner.world_size and not runner.distributed:
        yield Finding('processes', f'{text}: to use them all add --launcher pytorch --gpus {gpus}', 'doubt')
    else:
        yield Finding('processes', text)
    amp = hasattr(runner.optim_wrapper, 'loss_scaler')
    dtype = getattr(runner.optim_wrapper, 'cast_dtype', None) or torch.float16
    if amp and dtype is torch.bfloat16 and gpus and torch.cuda.get_device_capability()[0] < 8:
        yield Finding('precision', 'bf16, which this GPU computes slowly: use fp16 (remove dtype)', 'doubt')
    else:
        yield Finding('precision', str(dtype).removeprefix('torch.') if amp else 'float32')


def weights(runner: Runner) -> Iterator[Finding]:
    """Origin of the weights."""
    report = Path(runner.work_dir) / 'pretrained_report.txt'
    if runner._resume and runner._has_loaded:
        yield Finding('weights', f'resumed at epoch {runner.epoch}, step {runner.iter}')
    elif report.is_file() and report.stat().st_mtime >= _started(runner):
        yield Finding('weights', report.read_text(encoding='utf-8').splitlines()[0].rstrip(':'))
    elif runner._has_loaded:
        yield Finding('weights', str(runner._load_from))
    else:
        yield Finding('weights', 'random: no init_cfg and no load_from')


def schedule(runner: Runner) -> Iterator[Finding]:
    """Learning rate schedules against the length of the run."""
    loop = runner.train_loop
    yield Finding('schedule', f'{loop.max_epochs} epochs, {loop.max_iters:,} steps')
    schedulers = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
    for scheduler in schedulers:
        length = loop.max_epochs if scheduler.by_epoch else loop.max_iters
        if scheduler.begin >= length:
            unit = 'epoch' if scheduler.by_epoch else 'step'
            name = type(scheduler).__name__
            yield Finding('schedule', f'{name} begins at {unit} {scheduler.begin}, after the end of the run', 'doubt')


def accumulation(runner: Runner) -> Iterator[Finding]:
    """Checkpoints of several processes between two optimizer steps, which lack the gradients so far."""
    hook, counts = _checkpoint_hook(runner), getattr(runner.optim_wrapper, '_accumulative_counts', 1)
    if hook is None or runner.world_size == 1:
        return
    batches = hook.interval * (len(runner.train_dataloader) if hook.by_epoch else 1)
    if batches % counts:
        yield Finding(
            'accumulation',
            f'checkpoints every {batches} batches, optimizer steps every {counts}: on several processes a resumed run '
            f'lacks the gradients since the last step. Save at multiples: by_epoch=False, interval={counts * 100}',
            'doubt',
        )


def disk(runner: Runner) -> Iterator[Finding]:
    """Free space against the checkpoints to come."""
    hook = _checkpoint_hook(runner)
    if hook is None:
        return
    sizes = [p.numel() * p.element_size() * (3 if p.requires_grad else 1) for p in runner.model.parameters()]
    one = sum(sizes)  # weights, and two moments of AdamW
    length = runner.max_epochs if hook.by_epoch else runner.max_iters
    kept = hook.max_keep_ckpts + 1 if hook.max_keep_ckpts > 0 else length // hook.interval
    needed = one * kept + one // 3 * len(hook.save_best or [])
    free = shutil.disk_usage(_existing(Path(str(hook.out_dir or runner.work_dir)))).free
    text = f'{_bytes(free)} free, checkpoints to come take about {_bytes(needed)} ({kept} of {_bytes(one)})'
    if free < one:
        yield Finding('disk', f'{text}: not enough for one', 'error')
    else:
        yield Finding('disk', text, 'doubt' if free < needed else 'ok')


CHECKS: tuple[Callable[[Runner], Iterator[Finding]], ...] = (
    data,
    classes,
    preprocessing,
    batch,
    views,
    size,
    processes,
    weights,
    schedule,
    accumulation,
    disk,
)


def _checkpoint_hook(runner: Runner) -> Any:
    return next((hook for hook in runner.hooks if hasattr(hook, 'max_keep_ckpts') and hook.interval > 0), None)


def _model(runner: Runner) -> Any:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _head_classes(runner: Runner) -> int | None:
    model = _model(runner)
    return getattr(getattr(model, 'cls_head', getattr(model, 'head', None)), 'num_classes', None)


def _innermost(dataset: Any) -> Any:
    while hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset


def _dataset(loader: Any) -> dict:
    """The config of the data set in a loader's config, without its wrappers."""
    settings = (loader or {}).get('dataset', {})
    while isinstance(settings, dict) and 'dataset' in settings:
        settings = settings['dataset']
    return settings if isinstance(settings, dict) else {}


def _entries(dataset: Any) -> list[dict]:
    """Everything in the list of an MMEngine data set."""
    dataset = _innermost(dataset)
    if not getattr(dataset, 'serialize_data', False):
        return getattr(dataset, 'data_list', [])
    stream = io.BytesIO(dataset.data_bytes.tobytes())
    return [pickle.load(stream) for _ in range(len(dataset.data_address))]


def _labels(label: Any) -> list[int]:
    return list(label) if isinstance(label, list | tuple) else [int(label)]


def _files(subject: str, entries: list[dict]) -> Iterator[Finding]:
    """Look for files spread over the list, as many as the time allows."""
    names = [entry[key] for entry in entries for key in ('filename', 'frame_dir', 'img_path') if key in entry]
    local = [name for name in names if '://' not in name]
    order = sorted(range(len(local)), key=lambda index: (index * 0.6180339887) % 1)  # any first part is spread evenly
    missing, looked, end = [], 0, time.monotonic() + FILE_SECONDS
    for index in order:
        looked += 1
        if not Path(local[index]).exists():
            missing.append(index)
        if time.monotonic() > end:
            break
    if missing:
        first = ', '.join(local[index] for index in sorted(missing)[:3])
        level = 'error' if len(missing) == looked else 'doubt'
        yield Finding(subject, f'{len(missing):,} of {looked:,} files looked for are missing: {first}', level)


def _views(loader: Any) -> tuple[int, int]:
    clips = crops = 1
    for step in _dataset(loader).get('pipeline', []):
        clips = step.get('num_clips', clips)
        crops = step.get('num_crops', CROPS.get(step['type'], crops))
    return clips, crops


def _crop(steps: list[dict]) -> tuple[int, int] | None:
    """(height, width) of the frames at the end of a pipeline, where it is fixed."""
    for step in reversed(steps):
        if 'crop_size' in step:
            return _two(step['crop_size'])
        if step['type'] == 'Resize' and not step.get('keep_ratio', True):
            width, height = _two(step['scale'])
            return height, width
    return None


def _two(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _started(runner: Runner) -> float:
    return time.mktime(time.strptime(runner.timestamp, '%Y%m%d_%H%M%S'))


def _existing(path: Path) -> Path:
    return next(parent for parent in (path, *path.absolute().parents) if parent.exists())


def _some(values: list[int]) -> str:
    return ', '.join(map(str, values[:5])) + (', ...' if len(values) > 5 else '')


def _bytes(size: int) -> str:
    return f'{size / 1e9:,.1f} GB' if size >= 1e9 else f'{size / 1e6:,.1f} MB'
