"""Videos of a list or a folder that can be read, and those that cannot."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vidtx_mm.checks import choose
from vidtx_mm.datasets import parse_line, read_lines
from vidtx_mm.video import VideoError, VideoReader

from .predict import EXTENSIONS
from .progress import track


@dataclass(frozen=True)
class Check:
    """Result of ``check_videos``: the number of videos, the reason by path of each bad one, and the files written."""

    total: int
    bad: dict[str, str]
    bad_file: Path
    clean_list: Path


def check_video(path: str | Path, decode: str = 'ends', timeout: float | None = 60) -> str | None:
    """Return the reason why a video cannot be read, or ``None``.

    Args:
        path: the video.
        decode: 'ends' decodes the first and the last frame, 'all' every frame.
        timeout: seconds for opening, and for decoding.
    """
    choose('decode', decode, ('ends', 'all'))
    try:
        with VideoReader(path, timeout=timeout, short_side=16) as reader:
            reader.get_frames([0, len(reader) - 1] if decode == 'ends' else range(len(reader)))
            return f'some of its {len(reader)} frames cannot be decoded' if reader.clamped else None
    except VideoError as error:
        return error.reason


def check_videos(
    source: str | Path,
    data_root: str | Path = '',
    out: str | Path = '.',
    decode: str = 'ends',
    workers: int | None = None,
    num_labels: int = 1,
    timeout: float | None = 60,
    on_bad: Callable[[str, str], None] = lambda path, reason: None,
) -> Check:
    """Read every video of a list or a folder, and write ``bad_videos.txt`` and a list of the others.

    Args:
        source: a list with lines 'path label', or a folder.
        data_root: folder that the paths of a list are relative to.
        out: folder for ``bad_videos.txt`` ('path<tab>reason') and ``NAME_clean.txt``: the lines of the list as they
            are, or the paths below the folder.
        decode: see ``check_video``.
        workers: videos read at a time; by default the number of CPUs.
        num_labels: labels at the end of a line.
        timeout: see ``check_video``.
        on_bad: called with path and reason of every bad video, in the order of the list.

    Raises:
        OSError: if the source does not exist.
        ValueError: if it holds no videos.
    """
    choose('decode', decode, ('ends', 'all'))
    source, out = Path(source), Path(out)
    lines = _folder_lines(source) if source.is_dir() else _list_lines(source, Path(data_root), num_labels)
    if not lines:
        raise ValueError(f'{source} holds no videos')
    paths = [path for _, path in lines]
    bad: dict[str, str] = {}
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        reasons = pool.map(lambda path: check_video(path, decode, timeout), paths)
        for path, reason in track(zip(paths, reasons, strict=True), 'check', len(paths)):
            if reason and path not in bad:
                bad[path] = ' '.join(reason.split())
                on_bad(path, bad[path])
    out.mkdir(parents=True, exist_ok=True)
    report = Check(len(lines), bad, out / 'bad_videos.txt', out / f'{source.stem}_clean.txt')
    _write(report.bad_file, [f'{path}\t{reason}' for path, reason in bad.items()])
    _write(report.clean_list, [line for line, path in lines if path not in bad])
    return report


def _write(file: Path, lines: list[str]) -> None:
    file.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8', errors='surrogateescape')


def _folder_lines(folder: Path) -> list[tuple[str, str]]:
    files = sorted(file for file in folder.rglob('*') if file.suffix.lower() in EXTENSIONS)
    return [(str(file.relative_to(folder)), str(file)) for file in files]


def _list_lines(file: Path, data_root: Path, num_labels: int) -> list[tuple[str, str]]:
    lines = []
    for number, line in read_lines(str(file)):
        parsed = parse_line(line, 'auto', num_labels)
        if parsed is None:
            raise ValueError(
                f"{file} line {number}: {line!r} does not have the form 'path label' (labels: {num_labels})"
            )
        lines.append((line, str(data_root / parsed[0])))
    return lines
