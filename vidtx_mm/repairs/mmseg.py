"""Detector of the undeclared dependencies of mmsegmentation 1.2.2."""

from vidtx_mm.repairs.environment import installed


def lacks_text_packages() -> bool:
    """Return whether mmseg is installed without ftfy or regex."""
    return installed('mmseg') and not (installed('ftfy') and installed('regex'))
