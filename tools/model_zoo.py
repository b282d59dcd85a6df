"""Write docs/model_zoo.md from the metafiles that model-index.yml names.

python tools/model_zoo.py
"""

from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'model_zoo.md'

HEADER = """\
# Model zoo

<!-- Written by tools/model_zoo.py from configs/metafiles; edit those. -->

All published weights that this package loads, with their published results. `mim search vidtx_mm` lists the rows, and
`mim download vidtx_mm --config ID --dest DIR` downloads the weights and the config of a row. The loader recognizes each
format, so that files load without conversion: `mim test mmaction CONFIG --checkpoint FILE`.

- Results are those of the source in the same row, marked "(unchecked)" if that source was quoted at second hand. Views
  are clips x crops.
- "Ours" is the result of this package on the same data. "Not obtained" means that it was not measured.
- No file was downloaded for this page. The loader is tested on files in the layout of each publisher.
- FLOPs are multiply-adds of one view. The weights keep the licenses of their publishers.
"""

COLUMNS = 'ID|Config|Start|Views|Result|Ours|Params|FLOPs|Figures from|Weights|Note'.split('|')

SHORT = {'Top 1 Accuracy': 'top-1', 'Top 5 Accuracy': 'top-5'}


def read_families(root: Path) -> list[dict[str, Any]]:
    """Read the metafiles in the order of model-index.yml."""
    index = yaml.safe_load((root / 'model-index.yml').read_text(encoding='utf-8'))
    return [yaml.safe_load((root / name).read_text(encoding='utf-8')) for name in index['Import']]


def row(model: dict[str, Any]) -> list[str]:
    """Return the cells of an entry, in the order of COLUMNS."""
    meta = model['Metadata']
    metrics = model['Results'][0]['Metrics'] if 'Results' in model else {}
    config = Path(model['Config'])
    return [
        f'`{model["Name"]}`',
        f'[{config.stem}](../{config})',
        meta['Pretrained'],
        str(meta.get('Views', '')),
        ', '.join(f'{SHORT.get(name, name)} {value}' for name, value in metrics.items()) or 'not published',
        model.get('Ours', 'not obtained' if metrics else ''),
        f'{meta["Parameters"] / 1e6:.1f}M' if 'Parameters' in meta else '',
        f'{meta["FLOPs"] / 1e9:.4g}G' if 'FLOPs' in meta else '',
        model.get('Figures From', ''),
        _weights(model),
        model.get('Note', ''),
    ]


def page(families: list[dict[str, Any]]) -> str:
    """Return the page, with a section for each family and a table for each training data set."""
    parts = [HEADER]
    for family in families:
        paper = family['Collections'][0]['Paper']
        parts.append(f'## {family["Collections"][0]["Name"]}\n\n[{paper["Title"]}]({paper["URL"]})\n')
        for data, models in groupby(sorted(family['Models'], key=_data), key=_data):
            lines = [COLUMNS, ['---'] * len(COLUMNS), *map(row, models)]
            parts.append(f'### {data}\n\n' + ''.join(f'| {" | ".join(line)} |\n' for line in lines))
    return '\n'.join(parts)


def _data(model: dict[str, Any]) -> str:
    return model['Metadata']['Training Data']


def _weights(model: dict[str, Any]) -> str:
    url = model['Weights'] if model['Weights'] != [''] else model.get('Weights Page')
    if url is None:
        return 'not published'
    name = url.rpartition('/')[2].partition('?')[0] if url == model['Weights'] else 'page'
    return f'[{name}]({url}) ({model["Source Format"]})'


if __name__ == '__main__':
    PAGE.write_text(page(read_families(ROOT)), encoding='utf-8')
    print(f'wrote {PAGE}')
