"""Noise covariance and whitening against closed forms."""

import numpy as np
import pytest

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.whitening import bandwidth_factor, noise_covariance, whitening_matrix

COVARIANCE = np.array([[4.0, 1.0 + 1.0j], [1.0 - 1.0j, 3.0]], dtype=np.complex64)


def test_covariance_of_hand_written_samples() -> None:
    noise = np.array([[2.0, 0.0, 0.0, -2.0j], [0.0, 1.0, 1.0j, 1.0]], dtype=np.complex64)
    # E[n n^H]: (4 + 4)/4, (-2j * 1)/4, (1 + 1 + 1)/4
    np.testing.assert_allclose(noise_covariance(noise), [[2.0, -0.5j], [0.5j, 0.75]], atol=1e-6)


def test_whitening_matrix_is_the_inverse_cholesky_factor() -> None:
    """Closed form of a 2 x 2 Cholesky factor: l11 = 2, l21 = (1 - 1j)/2, l22 = sqrt(3 - 1/2)."""
    l11, l21, l22 = 2.0, (1 - 1j) / 2, np.sqrt(2.5)
    expected = np.array([[1 / l11, 0], [-l21 / (l11 * l22), 1 / l22]])
    np.testing.assert_allclose(whitening_matrix(COVARIANCE), expected, atol=1e-6)


def test_whitened_noise_has_unit_covariance() -> None:
    rng = np.random.default_rng(1)
    mixing = rng.standard_normal((6, 6)) + 1j * rng.standard_normal((6, 6))
    white = rng.standard_normal((6, 50_000)) + 1j * rng.standard_normal((6, 50_000))
    noise = (mixing @ white).astype(np.complex64)
    matrix = whitening_matrix(noise_covariance(noise))
    np.testing.assert_allclose(noise_covariance(matrix @ noise), np.eye(6), atol=1e-3)
    independent = mixing @ (rng.standard_normal((6, 50_000)) + 1j * rng.standard_normal((6, 50_000)))
    np.testing.assert_allclose(
        noise_covariance((matrix @ independent).astype(np.complex64)), np.eye(6), atol=0.05
    )


@pytest.mark.parametrize(
    ("noise_us", "image_us", "relative", "expected"),
    [
        (5.0, 5.0, None, 1.0),
        (5.0, 10.0, None, 0.5),  # half the bandwidth, half the variance
        (5.0, 10.0, 0.8, 0.625),
        (5.0, 5.0, 0.793, 1 / 0.793),
        (0.0, 5.0, 0.8, 1.0),  # a dwell time is missing: no scaling at all
        (5.0, 0.0, 0.8, 1.0),
        (5.0, 10.0, 0.0, 0.5),
    ],
)
def test_noise_variance_follows_the_bandwidth(
    noise_us: float, image_us: float, relative: float | None, expected: float
) -> None:
    assert bandwidth_factor(noise_us, image_us, relative) == pytest.approx(expected)


def test_dead_channel_leaves_the_others_white() -> None:
    covariance = np.diag([4.0, 0.0, 9.0]).astype(np.complex64)
    matrix = whitening_matrix(covariance)
    np.testing.assert_allclose(np.diag(matrix)[[0, 2]], [1 / 2, 1 / 3], rtol=1e-5)
    assert np.isfinite(matrix).all()
    assert abs(matrix[1, 1]) == pytest.approx(1 / np.sqrt(1e-6 * 13 / 3), rel=1e-3)


def test_fewer_noise_samples_than_channels_stays_finite() -> None:
    noise = np.array([[1.0, 2.0], [2.0j, 1.0], [0.5, 0.5], [1.0, -1.0]], dtype=np.complex64)
    assert np.isfinite(whitening_matrix(noise_covariance(noise))).all()


def test_no_noise_means_no_whitening() -> None:
    assert whitening_matrix(np.zeros((3, 3), dtype=np.complex64)) is None


def test_noise_that_is_not_finite_is_refused() -> None:
    with pytest.raises(InvalidRawData) as caught:
        whitening_matrix(np.full((2, 2), np.nan, dtype=np.complex64))
    assert caught.value.code == "LF-RAW-015"
