"""``mim run vidtx_mm explain``: the command ``vidtx explain``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
