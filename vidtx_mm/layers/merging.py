"""Patch merging of Swin."""

import torch
from torch import Tensor, nn

from .tokenizer import pad_to_multiple


class PatchMerging(nn.Module):
    """Halve height and width and double the channels: (B, T, H, W, C) -> (B, T, ceil(H/2), ceil(W/2), 2C).

    Neighbors are concatenated in the order (0, 0), (1, 0), (0, 1), (1, 1) of (row, column), as in the official Swin
    (microsoft/Swin-Transformer); mmpretrain uses another order. Odd sizes are zero-padded.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * dim)
        self.reduction = nn.Linear(4 * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = pad_to_multiple(x, (2, 2), first_axis=2)  # (B, T, H', W', C)
        neighbors = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]  # 4 x (B, T, H'/2, W'/2, C)
        return self.reduction(self.norm(torch.cat(neighbors, dim=-1)))  # (B, T, H'/2, W'/2, 2C)
