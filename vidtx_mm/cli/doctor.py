"""``vidtx doctor``."""

from .frame import command as make_command


@make_command('vidtx doctor')
def command() -> int:
    """Check the installation: versions, faults of the host, capabilities, and commands for the gaps.

    The exit code is 1 if recognition does not work. Without click, run python tools/doctor.py.
    """
    from vidtx_mm.doctor import main

    return main()
