"""Write docs/model_zoo.md from the metafiles that model-index.yml names.

python tools/model_zoo.py
"""

import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'model_zoo.md'

HEADER = """\
# Model zoo

<!-- Written by tools/model_zoo.py from configs/metafiles; edit those. -->

All published weights that this package loads, {files} files, and the results that their publishers report.

## Tested and not tested

Tested: with weights drawn by a fixed rule, the models compute the outputs of the official code in double precision, in
the sizes below.

| family | official code | cases | largest deviation |
| --- | --- | --- | --- |
| Video Swin | SwinTransformer/Video-Swin-Transformer | T, inputs of 3 sizes; inflation for 2 windows | 9e-15 |
| UniFormer, video | Sense-X/UniFormer | S, joint and split attention; inflation by 2 rules | 7e-15 |
| UniFormer, images | Sense-X/UniFormer | S and S+ classifiers; dense S, global and hybrid | 1e-14 |
| TimeSformer | facebookresearch/TimeSformer | divided, of 8 and 12 frames; space only | 9e-15 |
| TimeSformer | transformers | divided | 8e-15 |
| ViViT | google-research/scenic | B/16x2, models 1, 2 and 3 | 1e-14 |
| ViViT | transformers | B/16x2 | 3e-12 |

`python tests/goldens/deviations.py tests/parity tests/weights` prints them, relative to the mean magnitude of a tensor.
[tests/goldens](../tests/goldens/README.md) describes rule and cases. Each row of this page is tested, too: a file with
the keys and shapes of its publisher loads into the row's config, strictly and whole.

Not tested: real downloads. No file of this page was opened, and none of its results was measured with this package.

## Use

```bash
vidtx models 'uniformer*'                       # these rows
vidtx predict clip.mp4 --config swin3d_t_k400   # downloads the weights of the config, once
mim test mmaction CONFIG --checkpoint FILE      # a file as published: its format is recognized
mim download vidtx_mm --config ID --dest DIR    # weights and config of a row
```

- `--checkpoint` of `vidtx` and `checkpoint=` in Python take an ID of this page, a file, an address, or
  `hf://owner/repo/file` on the Hugging Face Hub (`pip install vidtx_mm[hub]`). Configs and `mim` take all but IDs.
- Pages of Google Drive open in a browser only. The error for such an ID says where to save the file; from then on the
  ID finds it.
- IDs link their configs. Views are clips x crops. FLOPs are multiply-adds of one view.
- Results that a source quotes at second hand are marked "(unchecked)".
- Official UniFormer files for Kinetics have a class order of their own. The loader brings the classifier to the order
  of MMAction2's lists and says so in its report.
- A file does not show the width of UniFormer's attention heads (dim32 or dim64). The config sets it, and the report
  says so where it is in doubt.
- The weights keep the licenses of their publishers.
"""

# Folder of a row's config, 'images' for weights of image classifiers -> title of the section.
TASKS = {
    'configs': 'Video recognition',
    'detection': 'Object detection and instance segmentation',
    'pose': 'Pose estimation',
    'segmentation': 'Semantic segmentation',
    'images': 'Image classification, and weights that other models start from',
    'custom': 'Examples of fine-tuning',
    'demo': 'Demos',
}
SHORT = {'Top 1 Accuracy': 'top-1', 'Top 5 Accuracy': 'top-5'}
Model = dict[str, Any]


def read_families(root: Path) -> list[Model]:
    """Read the metafiles in the order of model-index.yml."""
    index = yaml.safe_load((root / 'model-index.yml').read_text(encoding='utf-8'))
    return [yaml.safe_load((root / name).read_text(encoding='utf-8')) for name in index['Import']]


def page(families: list[Model]) -> str:
    """Return the page: a section for each task, in it one for each family, and a table for each training data set."""
    models = [model for family in families for model in family['Models']]
    parts = [HEADER.format(files=sum('Source Format' in model for model in models))]
    for task, title in TASKS.items():
        parts.append(f'## {title}\n')
        for family in families:
            chosen = sorted((model for model in family['Models'] if _task(model) == task), key=_data)
            if chosen:
                paper = family['Collections'][0]['Paper']
                parts.append(f'### {family["Collections"][0]["Name"]}\n\n[{paper["Title"]}]({paper["URL"]})\n')
            parts += [f'#### {data}\n\n{table(list(rows))}' for data, rows in groupby(chosen, key=_data)]
    return '\n'.join(parts)


def table(models: list[Model]) -> str:
    """Return a table without columns that say nothing, and below it the source of the figures and the notes."""
    source, form = (
        next(iter(Counter(filter(None, (model.get(key) for model in models))).most_common(1)), ('',))[0]
        for key in ('Figures From', 'Source Format')
    )
    metrics = list(dict.fromkeys(name for model in models for name in _metrics(model)))
    columns = ['ID', 'Start', 'Views', ' / '.join(map(_short, metrics)) or 'Result', 'Params', 'FLOPs', 'Weights']
    notes: dict[str, int] = {'': 0}
    rows = [_row(model, metrics, notes.setdefault(_note(model, source, form), len(notes))) for model in models]
    kept = [place for place, column in enumerate(zip(*rows, strict=True)) if set(column) - {'', '–', 'none', '1x1'}]
    lines = [[row[place] for place in kept] for row in [columns, ['---'] * len(columns), *rows]]
    below = [f'Figures: {source}.'] * bool(source) + [f'Format: `{form}`.'] * bool(form)
    text = ''.join(f'| {" | ".join(line)} |\n' for line in lines) + f'\n{" ".join(below)}\n' * bool(below)
    return text + ''.join(f'\n{number}. {note}' for note, number in notes.items() if number) + '\n' * (len(notes) > 1)


def _row(model: Model, metrics: list[str], note: int) -> list[str]:
    meta, values = model['Metadata'], _metrics(model)
    links = {'file': model['Weights'] if model['Weights'] != [''] else '', 'page': model.get('Weights Page', '')}
    return [
        f'[{model["Name"]}](../{model["Config"]})' + f' <sup>{note}</sup>' * bool(note),
        meta['Pretrained'],
        str(meta.get('Views', '')),
        ' / '.join(str(values.get(name, '–')) for name in metrics if values) or '–',
        f'{meta["Parameters"] / 1e6:.1f}M' if 'Parameters' in meta else '',
        f'{meta["FLOPs"] / 1e9:.4g}G' if 'FLOPs' in meta else '',
        ', '.join(f'[{name}]({url})' for name, url in links.items() if url) or '–',
    ]


def _note(model: Model, source: str, form: str) -> str:
    """Return what a row has to say besides its cells; ``source`` and ``form`` are those of most rows of the table."""
    found = [model['Note']] if 'Note' in model else []
    found += [f'figures: {model["Figures From"]}'] if model.get('Figures From', source) != source else []
    return '; '.join(
        found + ([f'format `{model["Source Format"]}`'] if model.get('Source Format', form) != form else [])
    )


def _metrics(model: Model) -> dict[str, float]:
    return model['Results'][0]['Metrics'] if 'Results' in model else {}


def _short(metric: str) -> str:
    return SHORT.get(metric) or re.sub(r'.*\((.+)\)', r'\1', metric)


def _task(model: Model) -> str:
    return 'images' if _data(model).startswith('ImageNet') else Path(model['Config']).parent.name


def _data(model: Model) -> str:
    return model['Metadata']['Training Data']


if __name__ == '__main__':
    PAGE.write_text(page(read_families(ROOT)), encoding='utf-8')
    print(f'wrote {PAGE}')
