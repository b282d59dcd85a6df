"""``vidtx doctor``."""

from .frame import command as make_command


@make_command('vidtx doctor')
def command() -> int:
    """Print versions, faults of the host, abilities, and the command for what is missing.

    The exit code is 1 where recognition cannot run. Where click itself is missing, use python tools/doctor.py.
    """
    from vidtx_mm.doctor import main

    return main()
