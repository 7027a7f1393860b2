"""Transforms along one axis against the definition of the discrete Fourier transform."""

import numpy as np
import pytest

from lfmri_node.recon.sense.fourier import (
    fft_axis,
    fit_axis,
    ifft_axis,
    remove_oversampling,
    resample_axis,
    reverse_axis,
)

SIZES = [1, 2, 5, 8, 9]


def samples(*shape: int) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def transform_matrix(n: int) -> np.ndarray:
    index = np.arange(n) - n // 2
    return np.exp(-2j * np.pi * np.outer(index, index) / n) / np.sqrt(n)


@pytest.mark.parametrize("n", SIZES)
def test_transform_is_the_centred_orthonormal_one(n: int) -> None:
    x = samples(3, n, 2)
    expected = np.einsum("kn,anb->akb", transform_matrix(n), x)
    np.testing.assert_allclose(fft_axis(x, 1), expected, atol=1e-5)
    np.testing.assert_allclose(ifft_axis(fft_axis(x, 1), 1), x, atol=1e-6)


@pytest.mark.parametrize(("n", "kept"), [(8, 4), (8, 3), (9, 4), (9, 5), (6, 1), (7, 7)])
def test_oversampling_is_cropped_around_the_centre(n: int, kept: int) -> None:
    image = samples(2, n)
    kspace = image @ transform_matrix(n).T
    start = n // 2 - kept // 2
    expected = image[:, start : start + kept] @ transform_matrix(kept).T
    np.testing.assert_allclose(remove_oversampling(kspace.astype(np.complex64), kept), expected, atol=1e-5)


@pytest.mark.parametrize("n", SIZES)
def test_reversed_kspace_shows_the_image_turned_about_its_centre(n: int) -> None:
    image = samples(n)
    turned = image[(2 * (n // 2) - np.arange(n)) % n]
    np.testing.assert_allclose(ifft_axis(reverse_axis(fft_axis(image, 0), 0), 0), turned, atol=1e-5)


@pytest.mark.parametrize(("n_in", "n_out"), [(4, 7), (5, 8), (7, 4), (8, 5), (6, 6)])
def test_fitting_keeps_the_centre(n_in: int, n_out: int) -> None:
    x = np.zeros(n_in)
    x[n_in // 2] = 1.0
    assert np.flatnonzero(fit_axis(x, 0, n_out)).tolist() == [n_out // 2]


@pytest.mark.parametrize(("n_in", "n_out"), [(8, 16), (9, 18), (8, 13), (9, 4)])
def test_interpolation_of_the_whole_field_is_zero_filling(n_in: int, n_out: int) -> None:
    """Zero-fill or crop the centred spectrum, transform back; amplitudes are kept."""
    image = samples(2, n_in)
    filled = fit_axis(fft_axis(image, 1), 1, n_out)
    expected = ifft_axis(filled, 1) * np.sqrt(n_out / n_in)
    np.testing.assert_allclose(resample_axis(image, 1, n_out, n_in), expected, atol=1e-5)


def test_real_image_stays_real() -> None:
    shown = resample_axis(np.ones((4, 6), dtype=np.float32), 1, 9, 6.0)
    assert shown.dtype == np.float32
    np.testing.assert_allclose(shown, 1.0, atol=1e-6)
