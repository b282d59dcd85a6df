"""Parameters and multiply-adds of recognizer, detector and pose configs, without weights and without computing.

python tools/complexity.py configs/swin3d_*_k400.py
python tools/complexity.py configs/swin3d_t_k400.py --shape 3 16 224 224
python tools/complexity.py configs/detection/*.py configs/pose/*.py    where mmdet and mmpose are installed
"""

import argparse
import sys

from mmengine.config import Config

import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported
from vidtx_mm.benchmark.complexity import count_config, view_shape
from vidtx_mm.benchmark.dense import DETECTION_SHAPE, count_detector, count_pose, pose_shape

# By the config's default scope: what an input is, unless --shape says it, and how it is counted.
KINDS = {
    'mmaction': (view_shape, count_config),
    'mmdet': (lambda cfg: DETECTION_SHAPE, count_detector),
    'mmpose': (pose_shape, count_pose),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='+')
    parser.add_argument(
        '--shape', type=int, nargs='+', metavar='N', help='C T H W of a clip or C H W of an image; else as tested'
    )
    args = parser.parse_args(argv)
    print('| config | view | parameters | multiply-adds |\n| --- | --- | --- | --- |')
    for path in args.configs:
        cfg = Config.fromfile(path)
        shape_of, count = KINDS[cfg.default_scope]
        shape = tuple(args.shape or shape_of(cfg))
        result = count(cfg, shape)
        view = ' x '.join(map(str, shape[1:]))
        print(f'| {path} | {view} | {result.parameters:,} | {result.macs / 1e9:.1f}G |', flush=True)
    return 0


if __name__ == '__main__':
    sys.exit(main())
