"""``mim run vidtx_mm make-lists``: the command ``vidtx make-lists``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
