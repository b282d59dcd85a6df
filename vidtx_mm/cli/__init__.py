"""The command ``vidtx``: one file per subcommand, each a thin layer over a function of the package.

``vidtx NAME``, ``python -m vidtx_mm NAME`` and ``mim run vidtx_mm NAME`` are the same. To add a command, add a file
with a ``command`` (see ``cli/frame.py``), its name to ``COMMANDS``, and ``tools/NAME.py``. A file imports torch and the
host inside its function only, so that ``vidtx --help`` is fast.
"""

import sys
from pathlib import Path

from .frame import Group, run

COMMANDS = (
    'predict',
    'timeline',
    'finetune',
    'report',
    'features',
    'explain',
    'export',
    'models',
    'check-videos',
    'make-lists',
    'train',
    'test',
    'doctor',
    'convert',
    'complexity',
    'benchmark',
    'benchmark-data',
    'benchmark-views',
    'benchmark-ddp',
    'benchmark-step',
    'benchmark-serving',
    'gpu-check',
)

vidtx = Group(
    COMMANDS,
    name='vidtx',
    help='Video transformers for MMAction2: Video Swin, UniFormer, ViViT and TimeSformer.',
)


def main(argv: list[str] | None = None) -> int:
    """Run one command line and return its exit code: 2 after an error, of which stderr has one sentence."""
    return run(vidtx, sys.argv[1:] if argv is None else argv)


def run_tool(file: str) -> None:
    """Run the command that a file of tools/ is named after, and exit."""
    sys.exit(main([Path(file).stem.replace('_', '-'), *sys.argv[1:]]))
