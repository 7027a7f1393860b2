"""Masks by the fastMRI conventions, against hand-worked numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lfmri_node.recon.sense.sampling import (
    acceleration,
    calibration_box,
    centre_lines,
    contiguous_centre,
    equispaced_fraction_lines,
    equispaced_lines,
    random_lines,
)


def test_centre_of_368_lines_at_8_percent_is_lines_170_to_198():
    """round(368 * 0.08) = 29; start (368 - 29 + 1) // 2 = 170."""
    lines = np.flatnonzero(centre_lines(368, 0.08))
    assert (lines[0], lines[-1], lines.size) == (170, 198, 29)


@pytest.mark.parametrize(("accel", "fraction"), [(4, 0.08), (8, 0.04)])
def test_random_lines_reach_the_acceleration_on_average(accel, fraction):
    rng = np.random.RandomState(0)
    counts = [random_lines(320, accel, fraction, rng).sum() for _ in range(400)]
    assert np.mean(counts) == pytest.approx(320 / accel, rel=0.02)


def test_equispaced_lines_are_the_centre_and_every_fourth():
    lines = equispaced_lines(32, 4, 0.125, np.random.RandomState(1))
    outside = np.flatnonzero(lines & ~centre_lines(32, 0.125))
    assert len({int(i) % 4 for i in outside}) == 1
    assert lines[centre_lines(32, 0.125)].all()


def test_more_centre_lines_than_the_acceleration_allows_are_refused():
    with pytest.raises(ValueError, match="do not allow"):
        random_lines(100, 12, 0.2, np.random.RandomState(0))


def test_acceleration_counts_points():
    assert acceleration(np.array([True, False, False, True])) == 2.0
    assert acceleration(np.zeros(4, dtype=bool)) == float("inf")


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_contiguous_centre_is_the_run_around_the_centre(flags):
    lines = np.array(flags)
    start, stop = contiguous_centre(lines)
    centre = lines.size // 2
    assert lines[start:stop].all()
    if lines[centre]:
        assert start <= centre < stop
        assert start == 0 or not lines[start - 1]
        assert stop == lines.size or not lines[stop]
    else:
        assert start == stop


def test_calibration_box_of_points_is_fully_sampled():
    sampled = np.zeros((40, 30), dtype=bool)
    sampled[14:26, 9:21] = True
    rows, columns = calibration_box(sampled, 40, 24)
    assert (rows, columns) == (slice(14, 26), slice(9, 21))
    assert sampled[rows, columns].all()


def test_equispaced_fraction_worked_by_hand():
    """n = 20, two centre lines (9, 10), 5x: distance 5 * 18 / 10 = 9 from an offset of 0 to 8, below 19."""
    expected = [{9, 10} | set(range(offset, 19, 9)) for offset in range(9)]
    drawn = [equispaced_fraction_lines(20, 5, 0.1, np.random.RandomState(seed)) for seed in range(60)]
    found = [set(np.flatnonzero(lines).tolist()) for lines in drawn]
    assert all(lines in expected for lines in found)
    assert all(lines in found for lines in expected)


@given(st.integers(64, 512), st.sampled_from([(4, 0.08), (8, 0.04), (6, 0.06)]), st.integers(0, 2**32 - 1))
def test_equispaced_fraction_reaches_the_acceleration(n, rate, seed):
    accel, fraction = rate
    lines = equispaced_fraction_lines(n, accel, fraction, np.random.default_rng(seed))
    assert lines[centre_lines(n, fraction)].all()
    assert lines.sum() == pytest.approx(n / accel, abs=2)


def test_equispaced_fraction_refuses_a_centre_that_is_too_wide():
    with pytest.raises(ValueError, match="do not allow"):
        equispaced_fraction_lines(100, 12, 0.2, np.random.RandomState(0))
