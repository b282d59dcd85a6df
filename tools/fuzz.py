"""Feed mutated inputs to the package and count the outcomes: ``python tools/fuzz.py checkpoints --cases 1500``.

A seed and a number determine each case; ``--only N`` repeats one. The tool needs the source tree: the mutations are in
tests/fuzz. Exit code 1 means that a case was neither ok, nor a clear error, nor silent.
"""

import argparse
import sys
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parents[1] / 'tests'
sys.path[:0] = [str(TESTS / 'fuzz'), str(TESTS / 'weights'), str(TESTS)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('target', choices=['checkpoints', 'lists', 'configs'], help='the kind of input')
    parser.add_argument('--cases', type=int, default=1500, help='number of cases')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--only', type=int, help='run one case and print its details')
    args = parser.parse_args()

    from checkpoints import checkpoint
    from config_arguments import config, prepare
    from harness import BAD, fuzz, table
    from lists import video_list

    torch.set_num_threads(1)  # the threads of OpenMP do not survive a fork
    if args.target == 'configs':
        prepare()
    target = {'checkpoints': checkpoint, 'lists': video_list, 'configs': config}[args.target]
    indices = range(args.cases) if args.only is None else [args.only]
    results = list(fuzz(target, args.seed, indices))
    print(table(results) if args.only is None else results[0])
    return int(any(result.outcome in BAD for result in results))


if __name__ == '__main__':
    sys.exit(main())
