"""Draw which tokens a query sees in each attention design, and measure what TimeSformer's schemes cost.

python tools/draw_attention.py                     # pictures into docs/images
python tools/draw_attention.py --measure           # also docs/attention_costs.json and its curves (minutes)
"""

import argparse
import json
from pathlib import Path

import torch

from vidtx_mm.benchmark.attention_pictures import draw, plot
from vidtx_mm.benchmark.receptive_field_designs import DESIGNS
from vidtx_mm.benchmark.report import machine, versions
from vidtx_mm.benchmark.scheme_costs import growth, table

DOCS = Path(__file__).resolve().parents[1] / 'docs'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=DOCS, help='folder for images/ and the numbers (default: docs)')
    parser.add_argument('--measure', action='store_true')
    parser.add_argument('--frames', type=int, nargs='+', default=[4, 8, 16, 32])
    parser.add_argument('--sides', type=int, nargs='+', default=[7, 14, 20, 28], help='tokens along a side')
    args = parser.parse_args()
    images = args.out / 'images'
    images.mkdir(parents=True, exist_ok=True)
    for design in DESIGNS:
        print(draw(design, images))
    if args.measure:
        torch.set_num_threads(1)
        record = dict(machine=machine(), versions=versions(), costs=table(args.frames, args.sides), growth=growth())
        (args.out / 'attention_costs.json').write_text(json.dumps(record, indent=1) + '\n')
        print(plot(record['costs'], images))


if __name__ == '__main__':
    main()
