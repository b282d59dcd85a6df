"""Generate a small data set of images: ``python tools/make_figures.py [ROOT]`` (see vidtx_mm.demo.figures)."""

import argparse
from dataclasses import asdict
from pathlib import Path

from vidtx_mm.demo.figures import FiguresSpec, make_figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/figures'), help='default: data/figures')
    for name, default in asdict(FiguresSpec()).items():
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N', help=f'default: {default}')
    options = vars(parser.parse_args())
    root = options.pop('root')
    try:
        spec = FiguresSpec(**options)
    except ValueError as error:
        parser.error(str(error))
    made = make_figures(root, spec, report=print)
    print(f'{root}: {"written" if made else "exists already"}')


if __name__ == '__main__':
    main()
