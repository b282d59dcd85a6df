"""Detector of an mmcv without compiled operators, which mmdet, mmpose and mmsegmentation import."""

from vidtx_mm.repairs.environment import installed, package_folder

OPERATORS = (
    'pip uninstall -y mmcv mmcv-lite && pip install "setuptools<82" wheel ninja && '
    'MMCV_WITH_OPS=1 pip install --no-build-isolation mmcv==2.1.0  # compiles if no wheel fits, for 20 minutes or more'
)


def lacks_operators() -> bool:
    """Return whether mmdet, mmpose or mmseg is installed with mmcv-lite, or with an mmcv built without operators."""
    folder = package_folder('mmcv')
    if folder is None or not any(map(installed, ('mmdet', 'mmpose', 'mmseg'))):
        return False
    return not any(folder.glob('_ext*'))
