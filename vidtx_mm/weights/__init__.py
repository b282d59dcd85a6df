"""Load published checkpoints into our models: strictly, and with a report.

``formats`` opens a file and checks that it has dense tensors. A ``Source`` maps its keys to those of the model: a
``Canonical`` checkpoint, in which each tensor keeps its origin. A ``Family`` has the rules by which ``fit`` brings
tensors to the shapes of the model. ``load`` writes the report, before the first tensor is copied.
"""

from .errors import CheckpointError
from .formats import Opened, open_checkpoint
from .load import Options, adapt, load_pretrained
from .report import LoadReport

__all__ = ['CheckpointError', 'LoadReport', 'Opened', 'Options', 'adapt', 'load_pretrained', 'open_checkpoint']
