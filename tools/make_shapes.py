"""Generate clips of moving shapes: ``python tools/make_shapes.py [ROOT]`` (see vidtx_mm.demo.shapes)."""

import argparse
from dataclasses import asdict
from pathlib import Path

from vidtx_mm.demo.shapes import ShapesSpec, make_class_folders, make_shapes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('root', type=Path, nargs='?', default=Path('data/shapes'), help='default: data/shapes')
    for name, default in asdict(ShapesSpec()).items():
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N', help=f'default: {default}')
    parser.add_argument('--class-folders', action='store_true', help='the training clips, in a folder for each class')
    options = vars(parser.parse_args())
    root, class_folders = options.pop('root'), options.pop('class_folders')
    try:
        spec = ShapesSpec(**options)
    except ValueError as error:
        parser.error(str(error))
    if class_folders:
        make_class_folders(root, spec)
        print(f'{root}: {spec.train} clips in class folders')
        return
    made = make_shapes(root, spec, report=print)
    print(f'{root}: {"written" if made else "exists already"}')


if __name__ == '__main__':
    main()
