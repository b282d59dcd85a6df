"""The metafiles, the configs, the weight sources and the model zoo page tell one story."""

import ast
import importlib.util
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
INDEX = yaml.safe_load((ROOT / 'model-index.yml').read_text(encoding='utf-8'))['Import']
MODELS = [m for name in INDEX for m in yaml.safe_load((ROOT / name).read_text(encoding='utf-8'))['Models']]
OWN = [model for model in MODELS if model['Name'] == Path(model['Config']).stem]

every_model = pytest.mark.parametrize('model', MODELS, ids=lambda model: model['Name'])
every_own = pytest.mark.parametrize('model', OWN, ids=lambda model: model['Name'])


def test_every_config_is_indexed_and_every_indexed_config_exists() -> None:
    assert {model['Config'] for model in MODELS} == set(CONFIGS)
    assert {model['Config'] for model in OWN} == set(CONFIGS)


def test_names_are_such_as_mim_takes() -> None:
    names = [model['Name'] for model in MODELS]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)


@every_model
def test_weights_have_an_address_a_known_format_and_an_origin(model: dict[str, Any]) -> None:
    if model['Weights'] == ['']:
        assert 'Source Format' not in model
        return
    assert model['Weights'].startswith('https://')
    assert model['Source Format'] in SOURCES
    assert model['Weights From']


@every_model
def test_figures_name_their_source(model: dict[str, Any]) -> None:
    assert ('Results' in model) == ('Figures From' in model) == ('Views' in model['Metadata'])


@every_own
def test_config_matches_its_entry(model: dict[str, Any]) -> None:
    """Parameters counted, the published top-1 that the config's header quotes, and the weights that it starts from."""
    path = CONFIGS[model['Config']]
    cfg = Config.fromfile(path)
    assert sum(p.numel() for p in build_on_meta(cfg).parameters()) == model['Metadata']['Parameters']
    if 'Results' in model:
        header = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
        assert str(model['Results'][0]['Metrics']['Top 1 Accuracy']) in header
    if cfg.get('checkpoint'):
        assert cfg.checkpoint in {other['Weights'] for other in MODELS if other['Weights'] != ['']}


def test_model_zoo_page_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location('model_zoo', ROOT / 'tools' / 'model_zoo.py')
    model_zoo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(model_zoo)
    page = (ROOT / 'docs' / 'model_zoo.md').read_text(encoding='utf-8')
    assert page == model_zoo.page(model_zoo.read_families(ROOT)), 'run python tools/model_zoo.py'
