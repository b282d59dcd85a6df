"""Load published checkpoints into our models: strictly, and with a report."""

from .errors import CheckpointError
from .formats import Opened, open_checkpoint
from .load import Options, adapt, load_pretrained
from .report import LoadReport

__all__ = ['CheckpointError', 'LoadReport', 'Opened', 'Options', 'adapt', 'load_pretrained', 'open_checkpoint']
