"""Tokenizer: tubelets, frame patches and down-samplings as one convolution."""

from collections.abc import Sequence

from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from ..checks import choose

CONVS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
PATCHES = {2: 'b c (h i) (w j) -> b h w (c i j)', 3: 'b c (t i) (h j) (w k) -> b t h w (c i j k)'}


def pad_to_multiple(x: Tensor, multiple: Sequence[int], first_axis: int) -> Tensor:
    """Zero-pad the end of the axes from ``first_axis`` on to multiples of ``multiple``."""
    ends = [-x.shape[first_axis + i] % m for i, m in enumerate(multiple)]
    if not any(ends):
        return x
    trailing = x.dim() - first_axis - len(multiple)
    return F.pad(x, [0, 0] * trailing + [side for end in reversed(ends) for side in (0, end)])


def check_input(x: Tensor, in_channels: int, ndim: int) -> None:
    """Raise if ``x`` is not (B, in_channels, T, H, W) or, for ``ndim`` 2, (B, in_channels, H, W)."""
    if x.dim() != ndim + 2:
        layout = '(B, C, T, H, W)' if ndim == 3 else '(B, C, H, W)'
        raise ValueError(f'expected a {ndim + 2}-dimensional {layout} input, got shape {tuple(x.shape)}')
    if x.shape[1] != in_channels:
        raise ValueError(
            f'expected {in_channels} input channels, got {x.shape[1]} in shape {tuple(x.shape)}; set in_channels, or '
            'check the layout (channels come second)'
        )


ODD_SIZES = ('pad', 'floor')


class Tokenizer(nn.Module):
    """Cut a channels-first clip or image into patches and embed each: (B, C, *size) -> (B, *grid, dim), channels last.

    ``kernel`` has one entry per axis (three for clips, two for images). ``odd_size`` treats sizes that the stride does
    not divide: 'pad' zero-pads the end, 'floor' drops the remainder (a plain convolution). Non-overlapping patches are
    embedded by a matrix product, which is faster than the convolution and equal to rounding.
    """

    def __init__(
        self,
        in_channels: int,
        dim: int,
        kernel: Sequence[int],
        stride: Sequence[int] | None = None,
        padding: Sequence[int] | None = None,
        norm: nn.Module | None = None,
        odd_size: str = 'pad',
    ) -> None:
        super().__init__()
        self.kernel = tuple(kernel)
        self.stride = tuple(stride or kernel)
        self.padding = tuple(padding or [0] * len(self.kernel))
        self.odd_size = choose('odd_size', odd_size, ODD_SIZES)
        self.proj = CONVS[len(self.kernel)](in_channels, dim, self.kernel, self.stride, self.padding)  # type: ignore
        self.norm = norm or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        check_input(x, self.proj.in_channels, len(self.kernel))
        if self.odd_size == 'pad':
            x = pad_to_multiple(x, self.stride, first_axis=2)  # (B, C, *size')
        if self.kernel == self.stride and not any(self.padding):
            return self.norm(self._embed_patches(x))  # (B, *grid, dim)
        return self.norm(self.proj(x).movedim(1, -1))  # (B, *grid, dim)

    def _embed_patches(self, x: Tensor) -> Tensor:
        for axis, size in enumerate(self.kernel, 2):
            x = x.narrow(axis, 0, x.shape[axis] // size * size)
        sides = dict(zip('ijk'[: len(self.kernel)], self.kernel, strict=True))  # torch 2.4 compiles only equal lengths
        patches = rearrange(x, PATCHES[len(self.kernel)], **sides)  # (B, *grid, C * kernel)
        return F.linear(patches, self.proj.weight.flatten(1), self.proj.bias)  # (B, *grid, dim)
