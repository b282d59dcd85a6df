"""``mim run vidtx_mm benchmark_ddp``: the command ``vidtx benchmark-ddp``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
