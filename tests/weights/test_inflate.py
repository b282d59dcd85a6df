"""The pure weight rules."""

from itertools import product

import pytest
import torch
from torch.nn import functional as F

from vidtx_mm.weights import inflate


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize('rule', inflate.KERNEL_RULES)
@pytest.mark.parametrize('frames', [1, 2, 3, 5])
def test_inflated_kernel_answers_a_still_clip_like_the_image_kernel(rule, frames):
    kernel, image = draw(4, 3, 2, 2), draw(1, 3, 8, 8, seed=1)
    clip = image.unsqueeze(2).expand(-1, -1, frames, -1, -1)
    answer = F.conv3d(clip, inflate.inflate_kernel(kernel, frames, rule))
    torch.testing.assert_close(answer[:, :, 0], F.conv2d(image, kernel))


def test_center_rule_looks_at_one_frame():
    inflated = inflate.inflate_kernel(draw(4, 3, 2, 2), 4, 'center')
    assert [bool(inflated[:, :, t].any()) for t in range(4)] == [False, False, True, False]


def test_inflated_biases_depend_on_the_offset_in_space_alone():
    table = draw(15, 2)  # a (2, 3) window: 3 x 5 offsets
    inflated = inflate.inflate_bias_table(table, (2, 3), (4, 2, 3))
    assert inflated.shape == (7 * 15, 2)
    for time in range(7):
        assert torch.equal(inflated[15 * time : 15 * (time + 1)], table)


def test_bias_tables_are_resized_in_space_per_time_offset_and_head():
    table = draw(3 * 5 * 5, 2)
    resized = inflate.resize_bias_table(table, (2, 3, 3), (2, 4, 4))
    for time, head in product(range(3), range(2)):
        grid = table[:, head].reshape(3, 5, 5)[time]
        expected = F.interpolate(grid[None, None], (7, 7), mode='bicubic')[0, 0]
        torch.testing.assert_close(resized[:, head].reshape(3, 7, 7)[time], expected)


def test_bias_tables_are_resized_linearly_in_time_around_the_middle():
    table = draw(5 * 9, 2)
    resized = inflate.resize_bias_table(table, (3, 2, 2), (6, 2, 2))
    old, new = table.reshape(5, 9, 2), resized.reshape(11, 9, 2)
    torch.testing.assert_close(new[5], old[2])
    ramp = torch.arange(5.0)[:, None, None].expand(5, 9, 2).reshape(45, 2)
    inner = inflate.resize_bias_table(ramp, (3, 2, 2), (6, 2, 2)).reshape(11, 9, 2)[2:9, 0, 0]
    torch.testing.assert_close(inner.diff(), torch.full((6,), 5 / 11))


def test_the_same_window_changes_nothing():
    table = draw(3 * 5 * 5, 2)
    assert torch.equal(inflate.resize_bias_table(table, (2, 3, 3), (2, 3, 3)), table)


RULES = {
    'kernel mean': ((4, 3, 2, 2), lambda x: inflate.inflate_kernel(x, 2, 'mean')),
    'kernel center': ((4, 3, 2, 2), lambda x: inflate.inflate_kernel(x, 2, 'center')),
    'bias 2-D': ((25, 2), lambda x: inflate.inflate_bias_table(x, (3, 3), (2, 4, 4))),
    'bias 3-D': ((75, 2), lambda x: inflate.resize_bias_table(x, (2, 3, 3), (4, 2, 2))),
}


@pytest.mark.parametrize('shape, rule', RULES.values(), ids=RULES)
def test_inputs_are_not_changed_and_not_shared(shape, rule):
    tensor = draw(*shape)
    before = tensor.clone()
    rule(tensor).add_(1)
    assert torch.equal(tensor, before)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="inflate='first': choose one of 'mean', 'center'"):
        inflate.inflate_kernel(draw(1, 1, 2, 2), 2, 'first')
    with pytest.raises(ValueError, match="pos_interpolation='cubic': choose one of .*'bicubic', 'nearest'"):
        inflate.resize_bias_table(draw(75, 2), (2, 3, 3), (2, 4, 4), 'cubic')
    with pytest.raises(ValueError, match='75 relative positions, not 74'):
        inflate.resize_bias_table(draw(74, 2), (2, 3, 3), (2, 4, 4))
