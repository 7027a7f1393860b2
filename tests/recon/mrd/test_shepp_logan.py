"""Files of Debian's ``ismrmrd_generate_cartesian_shepp_logan`` reconstruct to the image they hold."""

import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.types import Complex, KSpace

GENERATOR = Path("/usr/bin/ismrmrd_generate_cartesian_shepp_logan")
SIZE = 64
SHA = "0" * 64
RAW = ReaderSettings(prewhiten=False)

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not GENERATOR.exists(), reason="ismrmrd-tools is not installed"),
]


def generate(path: Path, *options: str) -> tuple[Complex, Complex]:
    """Write a file; returns its own phantom (y, x) and coil sensitivities (c, y, x)."""
    command = [str(GENERATOR), "-m", str(SIZE), "-c", "4", "-o", str(path), *options]
    subprocess.run(command, check=True, capture_output=True, timeout=60)

    def array(name: str) -> Complex:
        with h5py.File(path, "r") as file:
            stored = file["dataset"][name][0]
        return np.asarray(stored["real"] + 1j * stored["imag"], dtype=np.complex64)

    return array("phantom"), array("csm")


def coil_images(kspace: KSpace) -> Complex:
    axes = (1, 2)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace.data, axes), axes=axes, norm="ortho"), axes)


def relative_error(image: np.ndarray, truth: np.ndarray) -> float:
    return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))


def test_fully_sampled_scan_is_the_phantom(tmp_path: Path) -> None:
    """Readout to columns, phase to rows; combined with the file's own sensitivities, no scale fitted."""
    phantom, csm = generate(tmp_path / "scan.h5", "-n", "0")
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        scan = measurement.scan()
        assert scan.shape == (1, 4, SIZE, SIZE)
        images = np.stack([apply_display(coil[None], scan.display)[0] for coil in coil_images(scan.load(0))])
        assert not scan.geometry.known
        assert scan.geometry.matrix == (1, SIZE, SIZE)
        assert scan.geometry.spacing_mm == pytest.approx((6.0, 300 / SIZE, 300 / SIZE))
        assert scan.sequence.resonance_frequency_hz == 63_500_000
    combined = (csm.conj() * images).sum(axis=0) / (np.abs(csm) ** 2).sum(axis=0)
    assert relative_error(combined, phantom) < 1e-5
    root_sum_of_squares = np.sqrt((np.abs(images) ** 2).sum(axis=0))
    expected = np.abs(phantom) * np.sqrt((np.abs(csm) ** 2).sum(axis=0))
    assert relative_error(root_sum_of_squares, expected) < 1e-5


def test_repetitions_with_interleaved_acceleration_add_up_to_the_full_scan(tmp_path: Path) -> None:
    """2x acceleration gives each repetition twice, once a half of the lines."""
    generate(tmp_path / "full.h5", "-n", "0")
    generate(tmp_path / "scan.h5", "-n", "0", "-r", "2", "-a", "2", "-w", "12")
    with open_measurement(tmp_path / "full.h5", sha256=SHA) as measurement:
        full = measurement.scan().load(0)
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        assert measurement.scans == ((0, 0), (0, 1), (0, 2), (0, 3))
        halves = [measurement.scan(0, repetition).load(0) for repetition in range(2)]
    assert [int(half.sampled.sum()) for half in halves] == [SIZE // 2, SIZE // 2]
    np.testing.assert_array_equal(halves[0].sampled, ~halves[1].sampled)
    together = sum(half.data for half in halves)
    np.testing.assert_allclose(together, full.data, atol=1e-5 * np.abs(full.data).max())
    centre = slice(SIZE // 2 - 6, SIZE // 2 + 6)
    for half in halves:
        assert half.calibration is not None
        np.testing.assert_allclose(
            half.calibration, full.data[:, :, centre], atol=1e-5 * np.abs(full.data).max()
        )


def test_noise_calibration_scan_whitens(tmp_path: Path) -> None:
    """The air around the phantom has unit variance after whitening, and not before."""
    generate(tmp_path / "scan.h5", "-n", "0.2", "-C")
    variances = {}
    for settings in (ReaderSettings(), RAW):
        with open_measurement(tmp_path / "scan.h5", sha256=SHA, settings=settings) as measurement:
            scan = measurement.scan()
            assert scan.whitened == settings.prewhiten
            corner = coil_images(scan.load(0))[:, :8, :]
        variances[settings.prewhiten] = float((np.abs(corner) ** 2).mean())
    assert variances[True] == pytest.approx(1.0, rel=0.1)
    assert variances[False] != pytest.approx(1.0, rel=0.5)


def test_other_names_and_stored_coordinates(tmp_path: Path) -> None:
    command = [str(GENERATOR), "-m", "32", "-c", "2", "-k", "-d", "elsewhere", "-o", str(tmp_path / "k.h5")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    with open_measurement(tmp_path / "k.h5", sha256=SHA) as measurement:
        assert measurement.scan().load(0).sampled.all()
