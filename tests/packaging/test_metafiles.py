"""Metafiles, configs, weight sources and the model zoo page agree."""

import ast
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from mmengine.config import Config

import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported
from vidtx_mm.benchmark.complexity import build_on_meta
from vidtx_mm.weights.sources import SOURCES

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / 'configs').rglob('*.py'))}
FAMILIES = {
    str(path.relative_to(ROOT)): yaml.safe_load(path.read_text(encoding='utf-8'))['Models']
    for path in sorted((ROOT / 'configs' / 'metafiles').glob('*.yml'))
}
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))['Import']
KNOWN = [model for models in FAMILIES.values() for model in models]
MODELS = [model for name in INDEX for model in FAMILIES[name]]
# Read with mmdet, mmpose, mmsegmentation and mmpretrain: tests/dense compares them.
DENSE = ('custom', 'detection', 'imagenet', 'pose', 'segmentation')
OWN = [m for m in MODELS if m['Name'] == Path(m['Config']).stem and Path(m['Config']).parent.name not in DENSE]

every_known = pytest.mark.parametrize('model', KNOWN, ids=lambda model: model['Name'])
every_own = pytest.mark.parametrize('model', OWN, ids=lambda model: model['Name'])


@pytest.mark.parametrize('name', FAMILIES)
def test_a_family_is_indexed_when_its_configs_exist(name: str) -> None:
    missing = {model['Config'] for model in FAMILIES[name]} - set(CONFIGS)
    assert not missing, f'{name} names configs that do not exist: {sorted(missing)}'
    assert name in INDEX, f'add {name} to model-index.yml'


@pytest.mark.parametrize('config', CONFIGS)
def test_every_config_has_an_entry_of_its_name(config: str) -> None:
    entries = {(model['Name'], model['Config']) for model in KNOWN}
    assert (Path(config).stem, config) in entries, f'add an entry for {config} to a file of configs/metafiles'


def test_names_are_valid_for_mim() -> None:
    names = [model['Name'] for model in KNOWN]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)


@every_known
def test_weights_have_an_address_a_format_and_an_origin(model: dict[str, Any]) -> None:
    if model['Weights'] == [''] and 'Weights Page' not in model:
        assert 'Source Format' not in model
        return
    assert all(
        str(model[key]).startswith('https://') for key in ('Weights', 'Weights Page') if model.get(key, ['']) != ['']
    )
    assert model['Source Format'] and model['Weights From']


@every_known
def test_results_name_their_source(model: dict[str, Any]) -> None:
    assert ('Results' in model) == ('Figures From' in model)


def test_the_loader_knows_every_indexed_format() -> None:
    assert {model['Source Format'] for model in MODELS if 'Source Format' in model} <= set(SOURCES)


@every_own
def test_config_matches_its_entry(model: dict[str, Any]) -> None:
    """Compare counted parameters, the published top-1 in the header of the config, and the pretrained weights."""
    path = CONFIGS[model['Config']]
    cfg = Config.fromfile(path)
    assert sum(p.numel() for p in build_on_meta(cfg).parameters()) == model['Metadata']['Parameters']
    if 'Results' in model:
        header = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
        assert str(model['Results'][0]['Metrics']['Top 1 Accuracy']) in header
    if cfg.get('checkpoint', '').startswith('https://'):
        assert cfg.checkpoint in {str(other.get(key)) for other in MODELS for key in ('Weights', 'Weights Page')}


def test_model_zoo_page_is_up_to_date_and_narrow() -> None:
    spec = importlib.util.spec_from_file_location('model_zoo', ROOT / 'tools' / 'model_zoo.py')
    model_zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model_zoo)
    page = (ROOT / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    assert page == model_zoo.page(model_zoo.read_families(ROOT)), 'run python tools/model_zoo.py'
    assert all(f'[{model["Name"]}](../{model["Config"]})' in page for model in MODELS)
    rows = [re.sub(r'\]\([^)]+\)', ']', line) for line in page.splitlines() if line.startswith('|')]
    assert max(map(len, rows)) <= 140  # as rendered, without the addresses
