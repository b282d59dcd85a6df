"""Detector of the two packages that mmsegmentation 1.2.2 imports and does not require."""

from vidtx_mm.repairs.environment import installed


def lacks_text_packages() -> bool:
    """Return whether mmseg is installed without ftfy or regex."""
    return installed('mmseg') and not (installed('ftfy') and installed('regex'))
