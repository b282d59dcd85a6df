"""Generate clips of moving shapes: ``python tools/make_shapes.py [ROOT]`` (see vidtx_mm.demo.shapes)."""

import argparse
from dataclasses import asdict
from pathlib import Path

from vidtx_mm.demo.shapes import ShapesSpec, make_shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/shapes'), help='default: data/shapes')
    for name, default in asdict(ShapesSpec()).items():
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N', help=f'default: {default}')
    options = vars(parser.parse_args())
    root = options.pop('root')
    try:
        spec = ShapesSpec(**options)
    except ValueError as error:
        parser.error(str(error))
    made = make_shapes(root, spec, report=print)
    print(f'{root}: {"written" if made else "exists already"}')


if __name__ == '__main__':
    main()
