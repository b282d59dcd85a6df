"""Checkpoints by address: the web, the Hugging Face Hub, and pages for browsers."""

import http.server
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.runner import CheckpointLoader

import vidtx_mm.weights.hooks  # noqa: F401  registers the scheme
from vidtx_mm.weights import CheckpointError, open_checkpoint
from vidtx_mm.weights.fetch import cached_path, fetch, is_url

WEIGHTS = {'a.weight': torch.arange(6.0).reshape(2, 3)}
HUB_FILE = 'hf://owner/repo/deep/weights.pth'
DRIVE = 'https://drive.google.com/file/d/1-jGZIIuTM5IYIpqkNTojhGhfMc7Gu9Kt'


@dataclass
class Server:
    """A web server on this machine: its address, its folder, and the requests it got."""

    address: str
    folder: Path
    requests: list[str]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Serve files with the headers that the Hub adds, to an empty cache."""
    folder, requests = tmp_path / 'web', []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, *args: object) -> None:
            requests.append(f'{self.command} {self.path}')

        def end_headers(self) -> None:
            found = Path(self.translate_path(self.path))
            self.send_header('X-Repo-Commit', '0' * 40)
            self.send_header('ETag', '"abc"')
            if not found.exists():
                known = (folder / Path(*Path(self.path).parts[1:3])).exists()
                self.send_header('X-Error-Code', 'EntryNotFound' if known else 'RepoNotFound')
            super().end_headers()

    web = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    threading.Thread(target=web.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'torch'))
    yield Server(f'http://127.0.0.1:{web.server_port}', folder, requests)
    web.shutdown()
    web.server_close()


@pytest.fixture
def hub(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The server in place of the Hub, with owner/repo/weights.pth."""
    constants = pytest.importorskip('huggingface_hub.constants')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'hub'))
    monkeypatch.setattr(constants, 'ENDPOINT', server.address)
    template = server.address + '/{repo_id}/resolve/{revision}/{filename}'
    monkeypatch.setattr(constants, 'HUGGINGFACE_CO_URL_TEMPLATE', template)
    files = server.folder / 'owner/repo/resolve/main/deep'
    files.mkdir(parents=True)
    torch.save(WEIGHTS, files / 'weights.pth')
    return server


def test_a_file_on_the_hub_is_downloaded_once(hub: Server) -> None:
    for _ in range(2):
        assert torch.equal(open_checkpoint(HUB_FILE).tensors['a.weight'], WEIGHTS['a.weight'])
    assert sum('GET' in request and 'weights.pth' in request for request in hub.requests) == 1, hub.requests


@pytest.mark.usefixtures('hub')
def test_runner_takes_a_file_on_the_hub() -> None:
    """The hook puts its scheme before the address of ``load_from``."""
    loaded = CheckpointLoader.load_checkpoint(f'vidtx_mm://{HUB_FILE}')
    assert torch.equal(loaded['state_dict']['a.weight'], WEIGHTS['a.weight'])


@pytest.mark.usefixtures('hub')
def test_what_the_hub_does_not_have() -> None:
    with pytest.raises(CheckpointError, match='hf://owner/repo/gone.pth: no such file: see .*/owner/repo/tree/main'):
        fetch('hf://owner/repo/gone.pth')
    with pytest.raises(CheckpointError, match='no such repository, or it needs a login'):
        fetch('hf://owner/other/weights.pth')


@pytest.mark.usefixtures('hub')
def test_without_a_network_the_cache_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    path = fetch(HUB_FILE)
    monkeypatch.setattr('huggingface_hub.constants.HF_HUB_OFFLINE', True)
    assert fetch(HUB_FILE) == path
    with pytest.raises(CheckpointError, match='the Hub cannot be reached, and the cache has no copy: give the path'):
        fetch('hf://owner/repo/other.pth')


def test_the_hub_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(CheckpointError, match=r'hf://a/b/c.pth: downloading it needs `pip install vidtx_mm\[hub\]`'):
        fetch('hf://a/b/c.pth')


@pytest.mark.parametrize('address', ['hf://', 'hf://weights.pth', 'hf://owner/repo', 'hf://owner/repo/', 'hf:///a/b'])
def test_addresses_of_the_hub_have_three_parts(address: str) -> None:
    assert is_url(address)
    with pytest.raises(CheckpointError, match='is not an address on the Hub: write hf://owner/repo/file'):
        fetch(address)


def test_names_that_the_hub_does_not_take() -> None:
    pytest.importorskip('huggingface_hub')
    with pytest.raises(CheckpointError, match=r'cannot download hf://own er/-/a.pth: try again.*'):
        fetch('hf://own er/-/a.pth')


@pytest.mark.parametrize(
    ('page', 'file'),
    [
        ('https://huggingface.co/owner/repo', 'FILE, with the name'),
        ('https://huggingface.co/owner/repo/tree/main', 'FILE, with the name'),
        ('https://huggingface.co/owner/repo/blob/main/deep/a.pth', 'deep/a.pth'),
    ],
)
def test_pages_of_the_hub_are_no_files(page: str, file: str) -> None:
    with pytest.raises(CheckpointError, match=f'{page} is a page, not a file: give hf://owner/repo/{file}'):
        fetch(page)


@pytest.mark.parametrize(
    ('page', 'name'),
    [
        (DRIVE, 'drive.google.com-1-jGZIIuTM5IYIpqkNTojhGhfMc7Gu9Kt.pth'),
        (f'{DRIVE}/view?usp=sharing', 'drive.google.com-1-jGZIIuTM5IYIpqkNTojhGhfMc7Gu9Kt.pth'),
        ('https://drive.google.com/uc?export=download&id=1-jGZ', 'drive.google.com-1-jGZ.pth'),
        ('https://pan.baidu.com/s/12m09egivCGFkQosBRZb3NQ', 'pan.baidu.com-12m09egivCGFkQosBRZb3NQ.pth'),
        ('https://drive.google.com/drive/folders/16iRLUaa', 'checkpoints.16iRLUaa-[0-9a-f]{10}'),
    ],
)
def test_pages_for_browsers_say_where_the_file_belongs(
    page: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved there, the file is found by the same address."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    with pytest.raises(CheckpointError, match=rf'opens in a browser only: download the file .* as .*{name}, where it'):
        fetch(page)
    torch.save(WEIGHTS, cached_path(page))
    assert open_checkpoint(page).tensors.keys() == WEIGHTS.keys()


def test_web_addresses_are_downloaded_once(server: Server) -> None:
    torch.save(WEIGHTS, server.folder / 'weights.pth')
    for _ in range(2):
        assert open_checkpoint(f'{server.address}/weights.pth').tensors.keys() == WEIGHTS.keys()
    assert len(server.requests) == 1


def test_failed_downloads_say_where_a_copy_would_be_found(server: Server) -> None:
    with pytest.raises(CheckpointError, match=r'cannot download .*404.*put it at .*torch.checkpoints.gone-\w{10}\.pth'):
        open_checkpoint(f'{server.address}/gone.pth')
    with pytest.raises(CheckpointError, match='cannot download http://127.0.0.1:1/a.pth.*Without a network'):
        open_checkpoint('http://127.0.0.1:1/a.pth')


def test_equal_names_of_different_addresses_do_not_meet_in_the_cache() -> None:
    names = {cached_path(f'https://host/{folder}/checkpoint') for folder in ('kinetics_400', 'kinetics_600')}
    assert len(names) == 2
    assert cached_path('https://host/a/swin3d_t-7615ae03.pth').name == 'swin3d_t-7615ae03.pth'
    assert cached_path('https://host/a/model.safetensors?download=true').suffix == '.safetensors'
