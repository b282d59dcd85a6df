"""Checkpoint formats that look like known ones but cannot be loaded, with the reason."""

from .base import Unsupported

_SWIN = 'use the Microsoft file of the same model (swin_*_patch4_window*.pth, source="microsoft_swin")'

UNSUPPORTED = (
    Unsupported(
        title='mmpretrain / mmdet / mmsegmentation 2-D Swin',
        signature={r'(backbone\.)?stages\.0\.blocks\.0\.attn\.w_msa\.relative_position_bias_table': 2},
        reason=f'its patch merging takes the four neighbors in another channel order; {_SWIN}',
    ),
    Unsupported(
        title='transformers 2-D Swin',
        signature={r'(swin\.)?encoder\.layers\.0\.blocks\.0\.attention\.self\.relative_position_bias_table': 2},
        reason=f'there is no key map for it; {_SWIN}',
    ),
    Unsupported(
        title='timm >= 0.9 2-D Swin',
        signature={
            r'layers\.0\.blocks\.0\.attn\.relative_position_bias_table': 2,
            r'layers\.1\.downsample\.reduction\.weight': 2,
        },
        absent=(r'layers\.0\.downsample\..*',),
        reason=f'patch merging begins its stages instead of ending them; {_SWIN}',
    ),
    Unsupported(
        title='torchvision 2-D Swin',
        signature={r'features\.0\.0\.weight': 4, r'features\.1\.0\.attn\.relative_position_bias_table': 2},
        reason=f'there is no key map for it; {_SWIN}',
    ),
    Unsupported(
        title='Swin V2',
        signature={r'.*\.attn\.logit_scale': 3},
        reason='it has cosine attention and continuous position biases, unlike Video Swin; use a Swin V1 file',
    ),
    Unsupported(
        title='a plain image ViT',
        signature={r'(backbone\.)?pos_embed': 3, r'(backbone\.)?blocks\.0\.attn\.qkv\.weight': 2},
        reason='it has no windows and no stages; use a Swin file',
    ),
)
