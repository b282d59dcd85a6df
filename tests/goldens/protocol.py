"""Deterministic weights, inputs and fingerprints for comparing two implementations.

A golden case names a model configuration, lists the keys and shapes of its
reference state dict, and stores fingerprints of what the reference computed.
To check another implementation: build the same configuration, fill every
listed key with ``weight(key, shape)`` (renaming or reshaping the *filled* array
to the other layout, never the key), feed ``input_array(name, shape)``, and
``compare`` the outputs with the stored fingerprints. Work in float64: the
reference numbers were computed in float64 from these float32 arrays.

Weight rules, applied in this order (x is the standard normal draw for the key,
"leaf" is the last component of the key, which may be '.'- or '/'-separated):

* integer buffers (``relative_position_index``, ``num_batches_tracked``) are not
  drawn; keep the model's own values (``num_batches_tracked`` is 0)
* leaf ``running_var``: 1 + 0.1 |x|; leaf ``running_mean`` or ``bias``: 0.1 x
* leaf ``gamma_*`` (layer scale): 0.5 + 0.1 x
* leaf naming a position table or class token (``TABLES``): 0.5 x
* 1-D leaf ``weight`` or ``scale`` (LayerNorm, BatchNorm): 1 + 0.1 x
* other 1-D arrays: 0.1 x
* depthwise convolutions, (C, 1, kernel...): 0.25 x / sqrt(fan_in); the smaller
  gain keeps long stacks of residual depthwise layers from growing so much that
  the other branches no longer show in the output
* everything else: x / sqrt(fan_in)

``fan_in`` is prod(shape[1:]) for torch layouts. For a flax leaf ``kernel`` it is
prod(shape[:-1]) (Dense, Conv and the DenseGeneral ``out`` projection), except
below ``query``, ``key`` and ``value``, whose DenseGeneral kernels are
(features, heads, head_dim) and have fan_in = shape[0].
"""

import json
import math
import re
import zlib
from pathlib import Path

import numpy as np

SKIPPED = ('relative_position_index', 'num_batches_tracked')
TABLES = (
    'pos_embed',
    'time_embed',
    'cls_token',
    'relative_position_bias_table',
    'position_embeddings',
    'time_embeddings',
    'pos_embedding',
    'cls',
    'cls_SpatialTransformer',
    'cls_TemporalTransformer',
)
NUM_SAMPLES = 64


def _normal(name, shape):
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)


def _fan_in(parts, shape):
    if parts[-1] != 'kernel':
        return math.prod(shape[1:])
    if parts[-2] in ('query', 'key', 'value'):
        return shape[0]
    return math.prod(shape[:-1])


def weight(key, shape):
    """Return the float32 array for one entry of a state dict or flax tree."""
    shape = tuple(shape)
    parts = re.split(r'[./]', key)
    leaf = parts[-1]
    if leaf in SKIPPED:
        raise ValueError(f'{key} is an integer buffer: keep the value the model built')
    x = _normal(key, shape)
    if leaf == 'running_var':
        x = 1 + 0.1 * np.abs(x)
    elif leaf in ('running_mean', 'bias'):
        x = 0.1 * x
    elif leaf.startswith('gamma_'):
        x = 0.5 + 0.1 * x
    elif leaf in TABLES:
        x = 0.5 * x
    elif len(shape) == 1:
        x = 1 + 0.1 * x if leaf in ('weight', 'scale') else 0.1 * x
    else:
        depthwise = len(shape) >= 4 and shape[1] == 1
        x = (0.25 if depthwise else 1.0) * x / math.sqrt(_fan_in(parts, shape))
    return np.asarray(x, dtype=np.float32)


def fill(shapes):
    """Map {key: shape} to {key: array}, leaving out the integer buffers."""
    return {key: weight(key, shape) for key, shape in shapes.items() if re.split(r'[./]', key)[-1] not in SKIPPED}


def input_array(name, shape):
    """Return the float32 standard normal input called ``name``."""
    return _normal(name, tuple(shape)).astype(np.float32)


def fingerprint(array):
    """Summarise an array: shape, moments, and up to 64 evenly spaced elements."""
    array = np.asarray(array, dtype=np.float64)
    flat = array.ravel()
    count = min(NUM_SAMPLES, flat.size)
    where = [i * (flat.size - 1) // max(count - 1, 1) for i in range(count)]
    return dict(
        shape=list(array.shape),
        mean=float(flat.mean()),
        std=float(flat.std()),
        l1=float(np.abs(flat).mean()),
        samples=[[i, float(flat[i])] for i in where],
    )


def compare(expected, array):
    """Largest deviation from a fingerprint divided by its l1; NaN if the array has one."""
    found = fingerprint(array)
    if found['shape'] != list(expected['shape']):
        raise ValueError(f'shape {found["shape"]}, expected {expected["shape"]}')
    gaps = [abs(found[k] - expected[k]) for k in ('mean', 'std', 'l1')]
    gaps += [abs(a - b) for (_, a), (_, b) in zip(found['samples'], expected['samples'], strict=True)]
    return float(np.max(gaps)) / max(expected['l1'], 1e-12)


def case(name):
    """Read ``cases/<name>.json``."""
    return json.loads((Path(__file__).parent / 'cases' / f'{name}.json').read_text())
