"""``mim run vidtx_mm report``: the command ``vidtx report``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
