"""Masks of the training: the centre always, the acceleration asked for, lines or points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lfmri_node.recon.sense.sampling import contiguous_centre
from lfmri_node.recon.train.masks import ACCELERATION_RANGE, centre_lines, draw_mask, draw_points

FEWEST_OUTSIDE = 4
seeds = st.integers(0, 2**32 - 1)
accelerations = st.floats(*ACCELERATION_RANGE)


def drawn_centre(rng: np.random.Generator, acceleration: float) -> int:
    fewest, most = centre_lines(acceleration)
    return int(rng.integers(fewest, most + 1))


@pytest.mark.parametrize(
    ("acceleration", "expected"), [(2.0, (24, 32)), (4.0, (12, 26)), (8.0, (8, 13)), (10.0, (8, 12))]
)
def test_centre_lines_are_those_of_clinical_matrices(acceleration, expected):
    assert centre_lines(acceleration) == expected


class TestLines:
    @settings(deadline=None)
    @given(seed=seeds, acceleration=accelerations, n=st.integers(64, 400))
    def test_hold_their_centre_and_about_the_lines_asked_for(self, seed, acceleration, n):
        rng = np.random.default_rng(seed)
        n_centre = drawn_centre(rng, acceleration)
        lines = draw_mask(rng, n_centre, acceleration, n)
        assert lines.shape == (n,)
        start = n // 2 - n_centre // 2
        assert lines[start : start + n_centre].all()
        first, stop = contiguous_centre(lines)
        assert first <= start < start + n_centre <= stop
        assert abs(lines.sum() - max(n / acceleration, n_centre + FEWEST_OUTSIDE)) <= 2

    @pytest.mark.parametrize("n", [160, 320])
    @pytest.mark.parametrize("acceleration", [4.0, 8.0])
    def test_have_the_acceleration_on_average(self, n, acceleration):
        rng = np.random.default_rng(0)
        drawn = [draw_mask(rng, 8, acceleration, n).sum() for _ in range(200)]
        assert np.mean(drawn) == pytest.approx(n / acceleration, rel=0.02)

    def test_come_in_every_kind_and_every_line_at_times(self):
        rng = np.random.default_rng(1)
        masks = np.array([draw_mask(rng, 12, 4.0, 200) for _ in range(400)])
        outside = np.r_[0:94, 106:200]
        steps = [np.diff(outside[mask[outside]]) for mask in masks]
        equispaced = [np.ptp(step[step < 12]) <= 1 for step in steps]
        assert 0.25 < np.mean(equispaced) < 0.45
        one_sided = ~masks[:, 170:].any(axis=1)
        assert 0.05 < one_sided.mean() < 0.25
        assert masks.any(axis=0).all()
        assert len({mask.tobytes() for mask in masks}) > 320  # few of the equispaced ones differ

    def test_of_a_partial_fourier_have_lines_on_both_sides_of_the_centre(self):
        """They leave out the outermost lines of one side, never the centre or what is next to it."""
        rng = np.random.default_rng(2)
        for _ in range(200):
            lines = draw_mask(rng, 10, 3.0, 96)
            assert lines[48 - 5 : 48 + 5].all()
            assert lines[:43].any()

    def test_a_pure_centre_gets_a_few_lines_more(self):
        """The estimate of the coil maps in training: an acceleration of all lines."""
        lines = draw_mask(np.random.default_rng(0), 16, 96.0, 96)
        assert lines[40:56].all()
        assert lines.sum() == 16 + FEWEST_OUTSIDE


class TestPoints:
    @settings(deadline=None, max_examples=60)
    @given(
        seed=seeds,
        acceleration=accelerations,
        shape=st.tuples(st.integers(64, 160), st.integers(64, 160)),
    )
    def test_hold_a_square_centre_the_budget_and_no_corners(self, seed, acceleration, shape):
        rng = np.random.default_rng(seed)
        n_centre = drawn_centre(rng, acceleration)
        points = draw_points(rng, n_centre, acceleration, shape)
        assert points.shape == shape
        rows, columns = (slice(n // 2 - n_centre // 2, n // 2 - n_centre // 2 + n_centre) for n in shape)
        assert points[rows, columns].all()
        wanted = max(points.size / acceleration, n_centre**2 + FEWEST_OUTSIDE)
        assert abs(points.sum() - wanted) <= 0.02 * wanted + 5 * np.sqrt(wanted)
        assert not points[0, 0]
        assert not points[-1, -1]

    def test_are_denser_inside(self):
        rng = np.random.default_rng(3)
        mean = np.mean([draw_points(rng, 8, 6.0, (96, 96)) for _ in range(60)], axis=0)
        near, far = mean[48 - 16 : 48 + 16, 48 - 16 : 48 + 16].mean(), mean[:8, 40:56].mean()
        assert near > 1.3 * far > 0
