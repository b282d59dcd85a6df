"""``mim run vidtx_mm predict``: the command ``vidtx predict``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
