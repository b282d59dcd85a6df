"""Video Swin, UniFormer, ViViT and TimeSformer for MMAction2."""

from .compat import apply_repairs

__version__ = '0.1.0'

apply_repairs()
del apply_repairs
