"""Download checkpoints from web addresses and the Hugging Face Hub, once."""

import hashlib
import os
import re
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlparse

import torch

from .errors import CheckpointError
from .hub import from_hub, is_hub, page_of_hub

_HASH_IN_NAME = re.compile(r'-([a-f0-9]{8,})\.')  # swin3d_t-7615ae03.pth: the file's own sha256
# Sites that give files to browsers alone: the id of a file in its address.
_BROWSER_SITES = {
    'drive.google.com': re.compile(r'(?:/d/|[?&]id=)([\w-]+)'),
    'pan.baidu.com': re.compile(r'/s/([\w-]+)'),
}


def is_url(name: str) -> bool:
    return is_hub(name) or re.match('https?://', name, re.IGNORECASE) is not None


def cached_path(url: str) -> Path:
    """Return the path of ``url`` in the cache of torch.hub.

    A name with its hash is kept, as in torch.hub. Other names ('checkpoint', 'model.safetensors') are common to many
    files and get a hash of the address. Files of sites for browsers are named by their id there.
    """
    address = urlparse(url)
    site = _BROWSER_SITES.get(address.hostname or '')
    name = Path(unquote(address.path)).name or 'checkpoint'
    if site and (found := site.search(url)):
        name = f'{address.hostname}-{found[1]}.pth'
    elif not _HASH_IN_NAME.search(name):
        stem, dot, suffix = name.partition('.')
        name = f'{stem}-{hashlib.sha256(url.encode()).hexdigest()[:10]}{dot}{suffix}'
    return Path(torch.hub.get_dir()) / 'checkpoints' / name


def fetch(url: str) -> Path:
    """Download ``url`` unless it is in the cache, and return the path.

    Args:
        url: http(s)://..., or hf://owner/repo/file for a file on the Hugging Face Hub.

    Raises:
        CheckpointError: if the address is invalid, is a page for browsers, or the download fails, with the path where a
            copy would be found.
    """
    if is_hub(url):
        return from_hub(url)
    try:
        path = cached_path(url)
    except ValueError as error:
        raise CheckpointError(f'{url} is not a valid web address ({error}): correct it') from error
    if re.search(r'\s', url):
        raise CheckpointError(f'{url!r} is not a valid web address: write %20 for a space')
    if path.exists():
        return path
    if page := page_of_hub(url):
        raise CheckpointError(f'{url} is a page, not a file: give {page}')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if urlparse(url).hostname not in _BROWSER_SITES:
            found = _HASH_IN_NAME.search(Path(urlparse(url).path).name)
            torch.hub.download_url_to_file(url, str(path), found.group(1) if found else None, progress=os.isatty(2))
            return path
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise CheckpointError(
            f'cannot download {url}: {error}. Without a network, fetch it elsewhere and put it at {path}, or give the '
            'path of a local copy'
        ) from error
    raise CheckpointError(
        f'{url} opens in a browser only: download the file there and save it as {path}, where it is found from then '
        'on, or give the path of your copy'
    )
