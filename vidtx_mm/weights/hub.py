"""Checkpoints on the Hugging Face Hub: ``hf://owner/repo/file``."""

import re
from pathlib import Path

from .errors import CheckpointError

SCHEME = 'hf://'
_PAGE = re.compile(r'https?://(?:www\.)?huggingface\.co/([^/]+/[^/]+)(?:/(?:tree|blob)/[^/]+(?:/(.+))?)?/?')


def is_hub(name: str) -> bool:
    return name.lower().startswith(SCHEME)


def page_of_hub(url: str) -> str:
    """Return the address of the file on a page of the Hub, '' for other addresses."""
    page = _PAGE.fullmatch(url)
    return f'{SCHEME}{page[1]}/{page[2] or "FILE, with the name of a file there"}' if page else ''


def from_hub(address: str) -> Path:
    """Download a file unless it is in the cache of huggingface_hub, and return its path there.

    Raises:
        CheckpointError: if the address is invalid, nothing is there, the Hub cannot be reached, or the package
            huggingface_hub is missing.
    """
    owner, repo, file = [*address[len(SCHEME) :].split('/', 2), '', ''][:3]
    if not (owner and repo and file):
        raise CheckpointError(f'{address!r} is not an address on the Hub: write hf://owner/repo/file')
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise CheckpointError(f'{address}: downloading it needs `pip install vidtx_mm[hub]`') from error
    reasons = {
        errors.RepositoryNotFoundError: 'there is no such repository, or it needs a login (`hf auth login`)',
        errors.LocalEntryNotFoundError: 'the Hub cannot be reached, and the cache has no copy: give the path of a file',
        errors.EntryNotFoundError: f'no such file: see https://huggingface.co/{owner}/{repo}/tree/main',
        Exception: 'try again, or give the path of a file',  # of a name that does not serve, the network or the disk
    }
    try:
        return Path(hf_hub_download(f'{owner}/{repo}', file))
    except Exception as error:
        reason = next(text for kind, text in reasons.items() if isinstance(error, kind))
        raise CheckpointError(f'cannot download {address}: {reason} ({_first_line(error)})') from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
