"""Other people's checkpoints become our state dicts: strictly, and with a report."""

from .errors import CheckpointError
from .formats import Opened, open_checkpoint
from .load import adapt, load_pretrained
from .options import Options
from .report import LoadReport

__all__ = ['CheckpointError', 'LoadReport', 'Opened', 'Options', 'adapt', 'load_pretrained', 'open_checkpoint']
