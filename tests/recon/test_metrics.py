"""Metrics against closed forms."""

import numpy as np
import pytest

from lfmri_node.recon.metrics import area_under_curve, compare, pointing_chance, points_at


def test_psnr_and_nmse_of_a_constant_error():
    truth = np.zeros((2, 16, 16), dtype=np.float32)
    truth[:, 4:12, 4:12] = 2.0
    quality = compare(truth + 0.02, truth)
    assert quality.psnr_db == pytest.approx(40.0, abs=1e-3)  # 20 log10(2 / 0.02)
    assert quality.nmse == pytest.approx(0.02**2 / (4.0 * 64 / 256), rel=1e-3)
    assert 0 < quality.ssim < 1


def test_the_truth_itself_is_perfect():
    truth = np.random.default_rng(0).random((1, 16, 16), dtype=np.float32)
    quality = compare(truth, truth)
    assert (quality.psnr_db, quality.ssim, quality.nmse) == (float("inf"), pytest.approx(1.0), 0.0)


def test_an_error_of_scale_is_not_hidden():
    truth = np.random.default_rng(0).random((1, 16, 16), dtype=np.float32)
    assert compare(2 * truth, truth).nmse == pytest.approx(1.0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="equal shape"):
        compare(np.zeros((1, 8, 8), np.float32), np.zeros((1, 8, 9), np.float32))


def test_area_under_curve():
    assert area_under_curve([0.1, 0.2, 0.8, 0.9], [False, False, True, True]) == 1.0
    assert area_under_curve([0.9, 0.1, 0.5, 0.5], [False, True, True, False]) == pytest.approx(0.125)
    with pytest.raises(ValueError, match="positives and negatives"):
        area_under_curve([0.1], [True])


@pytest.mark.parametrize(
    ("row", "column", "hit"), [(10, 14, True), (10, 15, False), (13, 13, False), (12, 13, True)]
)
def test_the_pointing_game_allows_four_pixels(row, column, hit):
    activation, lesion = np.zeros((32, 32), np.float32), np.zeros((32, 32), bool)
    lesion[8:11, 8:11] = True
    activation[row, column] = 1.0
    assert points_at(activation, lesion) is hit


def test_the_chance_of_the_pointing_game_is_the_share_of_the_places_that_would_hit():
    """49 places of the grid lie within four pixels of one pixel; half a plane holds 29 of them."""
    lesion = np.zeros((32, 40), bool)
    lesion[16, 20] = True
    assert pointing_chance(np.ones_like(lesion), lesion) == pytest.approx(49 / (32 * 40))
    below = np.arange(32)[:, None] >= np.full(40, 16)
    assert pointing_chance(below, lesion) == pytest.approx(29 / (16 * 40))
    assert pointing_chance(np.zeros_like(lesion), lesion) == 0.0
