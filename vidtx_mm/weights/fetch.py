"""Download checkpoints from web addresses, once, into the cache of torch.hub."""

import hashlib
import os
import re
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlparse

import torch

from .errors import CheckpointError

_HASH_IN_NAME = re.compile(r'-([a-f0-9]{8,})\.')  # swin3d_t-7615ae03.pth: the file's own sha256


def is_url(name: str) -> bool:
    return re.match('https?://', name, re.IGNORECASE) is not None


def cached_path(url: str) -> Path:
    """Return the path of ``url`` in the cache.

    A name with its hash is kept, as in torch.hub. Other names ('checkpoint', 'model.safetensors') are common to many
    files and get a hash of the address.
    """
    name = Path(unquote(urlparse(url).path)).name or 'checkpoint'
    if not _HASH_IN_NAME.search(name):
        stem, dot, suffix = name.partition('.')
        name = f'{stem}-{hashlib.sha256(url.encode()).hexdigest()[:10]}{dot}{suffix}'
    return Path(torch.hub.get_dir()) / 'checkpoints' / name


def fetch(url: str) -> Path:
    """Download ``url`` unless it is in the cache, and return the path.

    Raises:
        CheckpointError: if the address is invalid or the download fails, with the path where a copy would be found.
    """
    try:
        path = cached_path(url)
    except ValueError as error:
        raise CheckpointError(f'{url} is not a valid web address ({error}): correct it') from error
    if re.search(r'\s', url):
        raise CheckpointError(f'{url!r} is not a valid web address: write %20 for a space')
    if path.exists():
        return path
    found = _HASH_IN_NAME.search(Path(urlparse(url).path).name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), found.group(1) if found else None, progress=os.isatty(2))
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise CheckpointError(
            f'cannot download {url}: {error}. Without a network, fetch it elsewhere and put it at {path}, or give the '
            'path of a local copy'
        ) from error
    return path
