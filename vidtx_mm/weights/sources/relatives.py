"""Checkpoints that look like ours but cannot be loaded: recognized, so that the error can say why."""

from .base import Source

_SWIN = 'use the Microsoft file of the same model (swin_*_patch4_window*.pth, source="microsoft_swin")'

RELATIVES = (
    Source(
        name='openmmlab_swin',
        title='mmpretrain / mmdet / mmsegmentation 2-D Swin',
        families=('video_swin',),
        ndim=2,
        marks={r'(backbone\.)?stages\.0\.blocks\.0\.attn\.w_msa\.relative_position_bias_table': 2},
        refusal=f'its patch merging takes the four neighbors in another channel order; {_SWIN}',
    ),
    Source(
        name='huggingface_swin',
        title='transformers 2-D Swin',
        families=('video_swin',),
        ndim=2,
        marks={r'(swin\.)?encoder\.layers\.0\.blocks\.0\.attention\.self\.relative_position_bias_table': 2},
        refusal=f'its key map is not among the sources; {_SWIN}',
    ),
    Source(
        name='timm_swin',
        title='timm >= 0.9 2-D Swin',
        families=('video_swin',),
        ndim=2,
        marks={
            r'layers\.0\.blocks\.0\.attn\.relative_position_bias_table': 2,
            r'layers\.1\.downsample\.reduction\.weight': 2,
        },
        absent=(r'layers\.0\.downsample\..*',),
        refusal=f'its stages begin, not end, with the patch merging; {_SWIN}',
    ),
    Source(
        name='torchvision_swin2d',
        title='torchvision 2-D Swin',
        families=('video_swin',),
        ndim=2,
        marks={r'features\.0\.0\.weight': 4, r'features\.1\.0\.attn\.relative_position_bias_table': 2},
        refusal=f'its key map is not among the sources; {_SWIN}',
    ),
    Source(
        name='swin_v2',
        title='Swin V2',
        families=('video_swin',),
        ndim=2,
        marks={r'.*\.attn\.logit_scale': 3},
        refusal='it has cosine attention and continuous position biases, which Video Swin has not; use a Swin V1 file',
    ),
    Source(
        name='image_vit',
        title='a plain image ViT',
        families=(),
        ndim=2,
        marks={r'(backbone\.)?pos_embed': 3, r'(backbone\.)?blocks\.0\.attn\.qkv\.weight': 2},
        refusal='it has no windows and no stages; use a Swin file',
    ),
)
