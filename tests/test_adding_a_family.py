"""docs/adding_a_family.md works: a copy of the package with its code blocks has a further, tested family."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import elsewhere

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(r'^```(\w+)\n(.*?)^```', re.MULTILINE | re.DOTALL)
CONFIG = """
import yaml
from mmengine.config import Config
from vidtx_mm.benchmark.complexity import build_on_meta


def test_config_has_the_parameters_of_its_entry():
    (entry,) = yaml.safe_load(open('configs/metafiles/clip_mixer.yml'))['Models']
    model = build_on_meta(Config.fromfile(entry['Config']))
    assert type(model.backbone).__name__ == 'ClipMixer'
    assert sum(p.numel() for p in model.parameters()) == entry['Metadata']['Parameters']
"""


def page() -> dict[str, str]:
    """Return the blocks of the page by the file that they name in their first line."""
    text = (ROOT / 'docs/adding_a_family.md').read_text(encoding='utf-8')
    blocks = [block.partition('\n') for language, block in BLOCK.findall(text) if language != 'bash']
    return {re.sub(r'^(# |--- )|,.*', '', first): rest for first, _, rest in blocks}


def patch(text: str, diff: str) -> str:
    """Apply the hunks of a diff, which ``@@`` separates."""
    for hunk in diff.split('@@\n'):
        lines = hunk.splitlines(keepends=True)
        old, new = (''.join(line[1:] for line in lines if line[0] in signs) for signs in ('- ', '+ '))
        text = replace_once(text, old, new)
    return text


def replace_once(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f'{old!r} must occur once'
    return text.replace(old, new)


def assign(text: str, changes: str) -> str:
    """Return a config with the top-level assignments of ``changes``."""
    tree = ast.parse(text)
    assigned = {node.targets[0].id: node for node in tree.body if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]
    for node in ast.parse(changes).body:
        assert isinstance(node, ast.Assign)
        assigned[node.targets[0].id].value = node.value  # type: ignore[attr-defined]
    return ast.unparse(tree)


@pytest.fixture(scope='module')
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the package and the tests involved."""
    folder = tmp_path_factory.mktemp('checkout')
    shutil.copytree(ROOT / 'vidtx_mm', folder / 'vidtx_mm', ignore=shutil.ignore_patterns('.mim', '__pycache__'))
    for name in ('tests/backbones', 'tests/goldens', 'configs/metafiles', 'tests/parity'):
        (folder / name).mkdir(parents=True)
    for file in ('backbones/cases.py', 'backbones/test_contract.py', 'backbones/test_completeness.py', 'helpers.py'):
        shutil.copy(ROOT / 'tests' / file, folder / 'tests' / file)
    shutil.copy(ROOT / 'tests/goldens/protocol.py', folder / 'tests/goldens')
    shutil.copytree(ROOT / 'tests/goldens/cases', folder / 'tests/goldens/cases')
    return folder


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = ':'.join(str(checkout / name) for name in ('.', 'tests', 'tests/goldens'))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=checkout,
        env=elsewhere(PYTHONPATH=path),
        capture_output=True,
        text=True,
        check=False,
    )


# Edit of the page -> sentences of the completeness tests about the edits that are missing after it.
FORGOTTEN = {
    'vidtx_mm/backbones/clip_mixer.py': ["import ['ClipMixer'] in vidtx_mm/backbones/__init__.py"],
    'vidtx_mm/backbones/__init__.py': [
        "add a row to tests/backbones/cases.py for ['ClipMixer']",
        "list a sources file in vidtx_mm/weights/sources/__init__.py for ['clip_mixer']",
    ],
}
PYTEST = ('-m', 'pytest', '-q', '-W', 'ignore', '-p', 'no:cacheprovider')


def test_a_family_by_six_edits(checkout: Path) -> None:
    blocks = page()
    for name, sentences in FORGOTTEN.items():
        write(checkout, name, blocks.pop(name))
        incomplete = run(checkout, *PYTEST, 'tests/backbones/test_completeness.py').stdout
        assert all(sentence in incomplete for sentence in sentences), incomplete

    for name, text in blocks.items():
        write(checkout, name, text)
    write(checkout, 'tests/test_clip_mixer_config.py', CONFIG)
    golden = run(checkout, 'golden.py')
    assert golden.returncode == 0, golden.stderr
    shutil.move(checkout / 'clip_mixer.json', checkout / 'tests/goldens/cases')
    selected = 'clip or completeness'
    done = run(checkout, *PYTEST, 'tests', '-k', selected)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r'(\d+) passed', done.stdout)
    assert passed is not None and int(passed[1]) > 20, done.stdout
    assert 'skipped' not in done.stdout


def write(checkout: Path, name: str, text: str) -> None:
    file = checkout / name
    if name == 'tests/backbones/cases.py':
        file.write_text(replace_once(file.read_text(), 'CASES = [\n', f'CASES = [\n    {text}'))
    elif name.startswith('configs/') and file.suffix == '.py':
        file.write_text(assign((ROOT / 'configs/swin3d_t_k400.py').read_text(), text))
    elif file.exists():
        file.write_text(patch(file.read_text(), text))
    else:
        file.write_text(text)
