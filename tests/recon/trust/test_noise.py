"""The noise estimate against noise of known deviation, through everything that the reader does to samples."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.fourier import fft_axis, fit_axis, ifft_axis
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.trust.noise import noise_per_coil
from lfmri_node.recon.types import Bool, KSpace

SIGMA = 0.01
N = 96
N_COILS = 6


def object_kspace(n_readout: int, noise_std: float = 0.0, lines: Bool | None = None) -> np.ndarray:
    """K-space c64 (c, r, p) of a phantom that leaves air at both ends of the readout."""
    rng = np.random.default_rng(4)
    image = ndimage.gaussian_filter(phantom_volume(1, (N, N), rng)[0], 0.5)
    image = fit_axis(image, 0, n_readout) * object_phase((n_readout, N), rng)
    maps = loop_coils(N_COILS, (n_readout, N), rng)
    sampled = np.ones(N, dtype=bool) if lines is None else lines
    return measure(image.astype(np.complex64), maps, sampled, noise_std, rng).data


def every_third() -> Bool:
    lines = centre_lines(N, 0.12)
    lines[::3] = True
    return lines


@pytest.mark.parametrize("noise_std", [0.001, 0.01, 0.05])
def test_the_noise_of_an_undersampled_slice_is_read_from_quiet_to_loud(noise_std):
    """At 0.1 % the edges of k-space hold several times as much signal as noise."""
    lines = every_third()
    sigma = noise_per_coil(KSpace(data=object_kspace(N, noise_std, lines), sampled=lines))
    assert np.sqrt(np.mean(sigma**2)) == pytest.approx(noise_std, rel=0.08)
    np.testing.assert_allclose(sigma, noise_std, rtol=0.25)


@pytest.mark.parametrize(
    "case", ["whole", "asymmetric echo", "partial Fourier", "padded", "padded on one side", "no object"]
)
def test_padding_and_missing_lines_are_not_quiet_measurements(case):
    lines = every_third()
    data = object_kspace(N, SIGMA, lines)
    if case == "asymmetric echo":
        data[:, : N // 4] = 0
    if case == "partial Fourier":
        lines[5 * N // 8 :] = False
        data = data * lines
    if case == "padded":
        data = fit_axis(fit_axis(data, 1, N - 32), 1, N)
    if case == "padded on one side":
        data[:, -N // 3 :] = 0
    if case == "no object":
        rng = np.random.default_rng(0)
        noise = rng.standard_normal((2, *data.shape)) * SIGMA / np.sqrt(2)
        data = (noise[0] + 1j * noise[1]) * lines
    sigma = noise_per_coil(KSpace(data=np.ascontiguousarray(data, dtype=np.complex64), sampled=lines))
    assert np.sqrt(np.mean(sigma**2)) == pytest.approx(SIGMA, rel=0.08)


@pytest.mark.parametrize("n_samples", [2 * N, 5 * N // 4, 3 * N // 2])
def test_oversampled_and_asymmetric_echoes_through_the_reader(tmp_path: Path, edit_mrd, n_samples):
    """2x oversampling, the echo at its place, the readout cut short at its beginning."""
    lines = every_third()
    clean = fft_axis(fit_axis(ifft_axis(object_kspace(N), -2), -2, 2 * N), -2)
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, *clean.shape)) * SIGMA / np.sqrt(2)
    samples = (clean + noise[0] + 1j * noise[1])[:, 2 * N - n_samples :, lines]
    path = tmp_path / "scan.h5"
    layout = ScanLayout(
        matrix=(n_samples, N, 1),
        field_of_view_mm=(480.0, 240.0, 5.0),
        n_coils=N_COILS,
        recon_matrix=(N, N, 1),
        recon_field_of_view_mm=(240.0, 240.0, 5.0),
    )
    with open_writer(path, layout) as writer:
        writer.lines(samples.transpose(2, 0, 1).astype(np.complex64), np.flatnonzero(lines))
    edit_mrd(
        path, xml=(f"<x>{n_samples}</x>".encode(), f"<x>{2 * N}</x>".encode()), center_sample=n_samples - N
    )
    with open_measurement(path, sha256="0" * 64, settings=ReaderSettings(prewhiten=False)) as measurement:
        kspace = measurement.scan().load(0)
    assert kspace.data.shape == (N_COILS, N, N)
    sigma = noise_per_coil(kspace)
    assert np.sqrt(np.mean(sigma**2)) == pytest.approx(SIGMA, rel=0.08)


def test_points_are_read_at_the_edge_of_what_was_measured():
    rng = np.random.default_rng(2)
    points = rng.uniform(size=(N, N)) < 0.3
    points[: N // 8] = points[-N // 8 :] = False
    data = object_kspace(N, SIGMA) * points
    sigma = noise_per_coil(KSpace(data=data.astype(np.complex64), sampled=points))
    assert np.sqrt(np.mean(sigma**2)) == pytest.approx(SIGMA, rel=0.15)


def test_nothing_measured_and_a_silent_coil_give_zero():
    lines = every_third()
    data = object_kspace(N, SIGMA, lines)
    data[2] = 0
    sigma = noise_per_coil(KSpace(data=data, sampled=lines))
    assert sigma[2] == 0
    assert (sigma[[0, 1, 3, 4, 5]] > 0.5 * SIGMA).all()
    assert not noise_per_coil(KSpace(data=np.zeros_like(data), sampled=lines)).any()
