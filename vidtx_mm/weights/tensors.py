"""Checks of single tensors of a checkpoint."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CheckpointError

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def plain_tensor(key: str, value: Any) -> Tensor:
    """Return a tensor or NumPy array as a dense tensor.

    Raises:
        CheckpointError: if it is not an array of numbers, or is sparse, quantized, nested or on the meta device.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in 'biufc':
            raise CheckpointError(f'{key} is an array of {value.dtype}, not of numbers: remove it from the file')
        native = np.require(value, value.dtype.newbyteorder('='), ['C', 'W'])
        try:
            return torch.from_numpy(native)
        except TypeError as error:  # numbers that torch lacks, such as float128
            raise CheckpointError(f'{key} is an array of {value.dtype}: save it as float32') from error
    if not isinstance(value, Tensor):
        raise CheckpointError(f'{key} is of type {type(value).__name__}, not a tensor: remove it from the file')
    forms = {
        str(value.layout).removeprefix('torch.'): value.layout != torch.strided,
        'quantized': value.is_quantized,
        'nested': value.is_nested,
        'meta': value.is_meta,
    }
    for form, found in forms.items():
        if found:
            raise CheckpointError(f'{key} is a {form} tensor: save it as a dense tensor with values')
    return value.detach()


def unusable(tensor: Tensor, target: Tensor, allow_nonfinite: bool = False) -> str:
    """Return why the values of ``tensor`` cannot be copied to ``target``, or ''."""
    if tensor.is_complex() or (target.dtype in FLOATS and tensor.dtype not in FLOATS):
        return f'{tensor.dtype} in the file, {target.dtype} in the model: save it as {target.dtype}'
    if tensor.dtype not in FLOATS or allow_nonfinite or not tensor.numel():
        return ''
    low, high = tensor.aminmax()  # NaN if any value is; isfinite of all values takes fifteen times as long
    if low.isfinite() and high.isfinite():
        return ''
    bad = tensor.numel() - int(tensor.isfinite().sum())
    return f'{bad} of {tensor.numel()} values are NaN or infinite: use another checkpoint, or set allow_nonfinite=True'
