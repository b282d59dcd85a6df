"""The functions behind the commands, for use from Python.

Each module holds one subject; ``vidtx_mm.cli`` adds nothing but the reading of a command line.
"""
