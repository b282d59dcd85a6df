"""Draw the receptive field of a query in each attention design, and measure the costs of TimeSformer's schemes.

python docs/figures/draw_attention.py              # pictures, into docs/images
python docs/figures/draw_attention.py --measure    # also docs/attention_costs.json and its curves (minutes)
"""

import argparse
import json
from pathlib import Path

import torch
from attention_designs import DESIGNS
from attention_pictures import draw, plot
from scheme_costs import table

from vidtx_mm.benchmark.report import machine, versions

DOCS = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=DOCS, help='folder for images/ and the numbers (default: docs)')
    parser.add_argument('--measure', action='store_true', help='measure the costs too')
    parser.add_argument('--frames', type=int, nargs='+', default=[4, 8, 16, 32], help='clip lengths to measure')
    parser.add_argument('--sides', type=int, nargs='+', default=[7, 14, 20, 28], help='tokens along a side')
    args = parser.parse_args()
    images = args.out / 'images'
    images.mkdir(parents=True, exist_ok=True)
    for design in DESIGNS:
        print(draw(design, images))
    if args.measure:
        torch.set_num_threads(1)
        costs = table(args.frames, args.sides)
        record = dict(machine=machine(), versions=versions(), costs=costs)
        (args.out / 'attention_costs.json').write_text(json.dumps(record, indent=1) + '\n')
        print(plot(costs, images))


if __name__ == '__main__':
    main()
