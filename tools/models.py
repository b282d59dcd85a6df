"""``mim run vidtx_mm models``: the command ``vidtx models``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
