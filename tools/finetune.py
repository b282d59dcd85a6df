"""``mim run vidtx_mm finetune``: the command ``vidtx finetune``."""

from vidtx_mm.cli import run_tool

if __name__ == '__main__':
    run_tool(__file__)
