"""``mim run vidtx_mm benchmark_data``: the command ``vidtx benchmark-data``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
