"""Time, peak memory and output difference of our models beside the references, on the same weights and input.

    python tools/benchmark.py                        # every pair, forward and training step
    python tools/benchmark.py swin3d_t --mode forward --runs 7 --out benchmark.json

The pairs stand in vidtx_mm/benchmark/pairs.py. Each side has its own process for each mode; runs alternate.
"""

import argparse
import json
import sys
from pathlib import Path

import vidtx_mm  # noqa: F401  repairs the host before MMAction2 is imported
from vidtx_mm.benchmark.pairs import PAIRS
from vidtx_mm.benchmark.report import machine, table, versions
from vidtx_mm.benchmark.run import MeasurementError, measure
from vidtx_mm.benchmark.worker import DTYPES, MODES, Settings


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('pairs', nargs='*', metavar='PAIR', help=f'which ones (all without): {", ".join(PAIRS)}')
    parser.add_argument('--mode', choices=MODES, action='append', help='may be repeated; both without')
    parser.add_argument('--frames', type=int, help="frames of a clip (the pair's own without)")
    parser.add_argument('--size', type=int, help="height and width (the pair's own without)")
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--precision', choices=tuple(DTYPES), default='fp32', help='bf16 is autocast')
    parser.add_argument('--compile', action='store_true', help='torch.compile both sides')
    parser.add_argument('--threads', type=int, help="PyTorch's choice without")
    parser.add_argument('--runs', type=int, default=5, help='measured runs of each side')
    parser.add_argument('--warmup', type=int, default=1)
    parser.add_argument('--alone', action='store_true', help='measure ours without the reference')
    parser.add_argument('--out', type=Path, help='write the numbers, machine and versions as JSON')
    args = parser.parse_args(argv)
    unknown = [name for name in args.pairs if name not in PAIRS]
    if unknown:
        parser.error(f'unknown pair {", ".join(unknown)}; choose from {", ".join(PAIRS)}')
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    rows, errors = [], []
    for name in args.pairs or PAIRS:
        pair = PAIRS[name].alone() if args.alone else PAIRS[name]
        for mode in args.mode or MODES:
            settings = Settings(
                mode=mode,
                batch=args.batch,
                frames=args.frames or pair.frames,
                size=args.size or pair.size,
                device=args.device,
                precision=args.precision,
                compile=args.compile,
                threads=args.threads,
            )
            print(f'{name}, {mode}: {args.runs} runs of each side ...', file=sys.stderr, flush=True)
            try:
                rows.append(measure(name, pair, settings, args.runs, args.warmup))
            except MeasurementError as error:
                errors.append(str(error))
    print(table(rows))
    for row in rows:
        if row['weights'].startswith('not mapped'):
            print(f"{row['name']}: the reference's weights were {row['weights']}")
    for line in errors:
        print(f'error: {line}', file=sys.stderr)
    if args.out:
        command = ' '.join(['python tools/benchmark.py', *(argv if argv is not None else sys.argv[1:])])
        record = dict(command=command, machine=machine(), versions=versions(), rows=rows, errors=errors)
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(record, indent=1))
    return 1 if errors else 0


if __name__ == '__main__':
    sys.exit(main())
