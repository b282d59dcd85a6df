"""``mim run vidtx_mm check-videos``: the command ``vidtx check-videos``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
