"""Train and test a small video transformer on generated clips: ``python tools/demo.py`` (see vidtx_mm.demo.job).

Write report.html and its figures into the work dir, and print the accuracy on held-out clips.
"""

import argparse
import os
import sys
from pathlib import Path

from vidtx_mm.apis.host import HostError
from vidtx_mm.demo.job import Demo, DemoError, summary

CONFIG = Path(__file__).resolve().parents[1] / 'configs' / 'demo' / 'swin3d_shapes.py'


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--config', type=Path, default=CONFIG, help='default: configs/demo/swin3d_shapes.py')
    parser.add_argument('--data', type=Path, default=Path('data/shapes'), help='clips; default: data/shapes')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demo'), help='default: work_dirs/demo')
    args = parser.parse_args()
    if not args.config.is_file():
        parser.error(f'--config {args.config}: no such file')
    return args


def main() -> int:
    args = parse_args()
    config = Path(os.path.relpath(args.config))
    try:
        report = Demo(config, args.data, args.work_dir, say=lambda line: print(line, flush=True)).run()
    except (DemoError, HostError, OSError, ValueError) as error:
        print(f'demo failed: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\ndemo interrupted: the next run reuses the clips and trains from the start', file=sys.stderr)
        return 130
    print(summary(report))
    return 0


if __name__ == '__main__':
    sys.exit(main())
