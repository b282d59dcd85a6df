"""The draws that the published pose recipes make of a person's box."""

import numpy as np
import pytest

from vidtx_mm.transforms import RandomScaleRotation

COUNT = 20_000


@pytest.fixture(scope='module')
def drawn() -> dict[str, np.ndarray]:
    state = np.random.get_state()
    np.random.seed(0)
    results = dict(bbox_scale=np.full((COUNT, 2), (30.0, 40.0), np.float32))
    results = RandomScaleRotation(scale_factor=0.5, rotate_factor=40, rotate_prob=0.6).transform(results)
    np.random.set_state(state)
    return results


def test_scale_is_a_clipped_normal(drawn: dict[str, np.ndarray]) -> None:
    """N(1, 0.5) within 0.5 of 1: 15.87% of the draws lie at either end; width and height scale alike."""
    factor = drawn['bbox_scale'] / np.float32((30, 40))
    np.testing.assert_allclose(factor[:, 0], factor[:, 1], rtol=1e-6)
    at_ends = [np.mean(np.isclose(factor[:, 0], end)) for end in (0.5, 1.5)]
    np.testing.assert_allclose(at_ends, 0.1587, atol=0.01)
    inside = factor[(factor[:, 0] > 0.51) & (factor[:, 0] < 1.49), 0]
    assert inside.std() == pytest.approx(0.5 * 0.540, abs=0.01)  # of a normal draw within one deviation


def test_rotation_is_a_clipped_normal_for_some(drawn: dict[str, np.ndarray]) -> None:
    """Six in ten are rotated by N(0, 40) degrees within 80, of which 4.55% lie at the ends."""
    rotation = drawn['bbox_rotation']
    rotated = rotation[rotation != 0]
    assert len(rotated) / COUNT == pytest.approx(0.6, abs=0.015)
    assert np.mean(np.abs(rotated) == 80) == pytest.approx(0.0455, abs=0.006)
    assert rotated.std() == pytest.approx(40 * 0.959, abs=1)
    assert abs(rotated.mean()) < 1.5


def test_each_box_has_its_own_draw(drawn: dict[str, np.ndarray]) -> None:
    assert drawn['bbox_scale'].dtype == np.float32 and drawn['bbox_rotation'].dtype == np.float32
    inside = drawn['bbox_rotation'][np.abs(drawn['bbox_rotation'] % 80) > 0]
    assert len(np.unique(inside)) > 0.9 * len(inside)
