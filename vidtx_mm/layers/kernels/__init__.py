"""Kernels: everything that depends on the device, the mode or compilation, and every hand-written gradient.

Layers call these functions unconditionally and hold the mathematics alone. Each row has a measured reason: the ratio of
its time to plain PyTorch's in paired runs on CPU (torch 2.13, fp32).

| kernel | takes its own path | ratio |
|---|---|---|
| `biased_attention` | on CPU with a gradient of the bias | with gradients 0.5 to 0.9, one window 1.02; see below |
| `chunked` | on CPU without gradients | forward of Swin-T 0.95, of the others 1.0; 8 MiB of intermediate results |
| `depthwise_conv`, 3-D | on CPU with gradients | 3 x 3 x 3 and 5 x 5 x 5: 0.22 to 0.31 |
| `depthwise_conv`, 2-D, 4 columns or more | on CPU with gradients | 5 x 5: 0.36 to 0.85 (3 x 3 would be 1.4 to 1.9) |

`biased_attention` takes 0.53, 0.67 and 0.94 of the time in stages 1 to 3 of Swin-T at 16 frames (392 tokens a window),
and 0.87 to 0.94 at 8 frames (196 tokens). A training step at 16 frames takes 0.86 of the time and 0.67 of the memory.

On CUDA the reasons are in PyTorch's sources; nothing was measured, for want of a GPU. `vidtx gpu-check` lists and times
the kernels that a card takes.

- `biased_attention` is SDPA with the bias as a mask. Flash attention takes no mask, and cuDNN none with a gradient, so
  that training takes the memory-efficient kernel. It pads the bias to rows of a multiple of eight and gives a gradient
  for each window. `flex_attention` is fast only when it is compiled, and is left out.
- `softmax_attention` is SDPA in runs of at most 65,535 groups, since flash attention refuses more.
- `depthwise_conv` copies 3-D grids to channels first and back. PyTorch's own kernel, 7 to 13 times as fast as what it
  replaced (pull request 51027), takes only these; channels-last grids go to cuDNN's grouped convolution.

Without effect and therefore left out: contiguous keys and values for 1,569 and 3,137 tokens (1.01 and 0.99 of the time
of attention), and BatchNorm folded into the next convolution at inference (forward of UniFormer-S 1.01).
"""

from .biased_attention import biased_attention
from .chunks import chunked
from .depthwise import depthwise_conv
from .softmax_attention import softmax_attention

__all__ = ['biased_attention', 'chunked', 'depthwise_conv', 'softmax_attention']
