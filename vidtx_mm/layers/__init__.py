"""Plain modules that the families share; ``kernels`` holds their device branches and hand-written gradients."""

from .attention import Attention, QkvProjection
from .conv import DepthwiseConv, PointwiseConv, batch_norm
from .drop import DropPath, drop_path_rates
from .kernels import biased_attention, softmax_attention
from .merging import PatchMerging
from .mlp import Mlp
from .partition import HEIGHT, JOINT, SPACE, TIME, WIDTH, Axes, Window, WindowLayout
from .position import SPACE_MODES, resize_space_table, resize_time_table
from .sparse import NeighborhoodAttention, merge_lattices, split_lattices
from .tokenizer import CONVS, ODD_SIZES, Tokenizer, check_input, pad_to_multiple

__all__ = [
    'CONVS',
    'HEIGHT',
    'JOINT',
    'ODD_SIZES',
    'SPACE',
    'SPACE_MODES',
    'TIME',
    'WIDTH',
    'Attention',
    'Axes',
    'DepthwiseConv',
    'DropPath',
    'Mlp',
    'NeighborhoodAttention',
    'PatchMerging',
    'PointwiseConv',
    'QkvProjection',
    'Tokenizer',
    'Window',
    'WindowLayout',
    'batch_norm',
    'biased_attention',
    'check_input',
    'drop_path_rates',
    'merge_lattices',
    'pad_to_multiple',
    'resize_space_table',
    'resize_time_table',
    'softmax_attention',
    'split_lattices',
]
