"""Parameters and multiply-adds of recogniser configs, without weights and without computing.

python tools/complexity.py configs/swin3d_*_k400.py
python tools/complexity.py configs/swin3d_t_k400.py --shape 3 16 224 224
"""

import argparse
import sys

from mmengine.config import Config

import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported
from vidtx_mm.benchmark.complexity import count_config, view_shape


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+')
    parser.add_argument('--shape', type=int, nargs=4, metavar=('C', 'T', 'H', 'W'), help='the tested view without')
    args = parser.parse_args(argv)
    print('| config | view | parameters | multiply-adds |\n| --- | --- | --- | --- |')
    for path in args.configs:
        cfg = Config.fromfile(path)
        shape = tuple(args.shape) if args.shape else view_shape(cfg)
        result = count_config(cfg, shape)
        view = ' x '.join(map(str, shape[1:]))
        print(f'| {path} | {view} | {result.parameters:,} | {result.macs / 1e9:.1f}G |', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
