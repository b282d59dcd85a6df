"""Plain modules that the families share."""

from .attention import Attention
from .drop import DropPath, drop_path_rates
from .merging import PatchMerging
from .mlp import Mlp
from .partition import HEIGHT, JOINT, SPACE, TIME, WIDTH, Axes, Window, WindowLayout
from .position import resize_space_table, resize_time_table
from .tokenizer import Tokenizer, pad_to_multiple

__all__ = [
    'HEIGHT',
    'JOINT',
    'SPACE',
    'TIME',
    'WIDTH',
    'Attention',
    'Axes',
    'DropPath',
    'Mlp',
    'PatchMerging',
    'Tokenizer',
    'Window',
    'WindowLayout',
    'drop_path_rates',
    'pad_to_multiple',
    'resize_space_table',
    'resize_time_table',
]
