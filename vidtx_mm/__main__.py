"""``python -m vidtx_mm NAME ...``: the command ``vidtx``."""

import sys

from vidtx_mm.cli import main

if __name__ == '__main__':
    sys.exit(main())
