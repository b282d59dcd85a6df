"""Video Swin, UniFormer, ViViT and TimeSformer for MMAction2."""

__version__ = '0.1.0'
