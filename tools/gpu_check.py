"""``mim run vidtx_mm gpu_check``: the command ``vidtx gpu-check``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
