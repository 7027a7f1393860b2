"""Calibration lines, contrasts and repetitions, noise measurements and 3-D scans."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.mrd.heads import Flag
from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer, write_measurement
from lfmri_node.recon.types import KSpace, SequenceInfo

Edit = Callable[..., None]

SHA = "0" * 64
RAW = ReaderSettings(prewhiten=False)
LAYOUT = ScanLayout(matrix=(6, 8, 1), field_of_view_mm=(60.0, 80.0, 5.0), n_coils=2)


def noise_like(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def load(path: Path, s: int = 0, scan: tuple[int, int] = (0, 0), reader: ReaderSettings = RAW) -> KSpace:
    with open_measurement(path, sha256=SHA, settings=reader) as measurement:
        return measurement.scan(*scan).load(s)


def write_calibrated(path: Path, data: np.ndarray) -> None:
    """Every second line for the image; 3, 4, 5, 6 as calibration, of which 4 and 6 are both."""
    sampled, reference = np.arange(8) % 2 == 0, (np.arange(8) >= 3) & (np.arange(8) <= 6)
    write_measurement(path, data, sampled, LAYOUT, calibration=reference)


def test_separate_calibration_lines_stay_out_of_the_image(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_calibrated(path, data)
    loaded = load(path)
    assert np.flatnonzero(loaded.sampled).tolist() == [0, 2, 4, 6]
    # centred on line 4: with one line below it, index 1 of 3
    np.testing.assert_allclose(loaded.calibration, data[0][:, :, 3:6], atol=1e-6)


def test_embedded_calibration_lines_belong_to_the_image(tmp_path: Path, edit_mrd: Edit) -> None:
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_calibrated(path, data)
    mode = (
        b"<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
        b"<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
        b"<calibrationMode>embedded</calibrationMode></parallelImaging></encoding>"
    )
    edit_mrd(path, xml=(b"</encoding>", mode))
    loaded = load(path)
    assert np.flatnonzero(loaded.sampled).tolist() == [0, 2, 3, 4, 5, 6]
    assert loaded.calibration is None
    np.testing.assert_allclose(loaded.data[:, :, 3], data[0][:, :, 3], atol=1e-6)


def test_calibration_of_the_first_repetition_serves_the_others(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.h5", noise_like((8, 2, 6))
    with open_writer(path, LAYOUT) as writer:
        writer.lines(data[3:6], np.arange(3, 6), flags=(Flag.PARALLEL_CALIBRATION,))
        for repetition in range(2):
            writer.lines(data[::2], np.arange(0, 8, 2), repetition=repetition)
    first, second = load(path, scan=(0, 0)), load(path, scan=(0, 1))
    assert first.calibration is not None
    np.testing.assert_array_equal(first.calibration, second.calibration)


def test_contrasts_and_repetitions_are_scans_of_their_own(tmp_path: Path) -> None:
    sequences = (
        SequenceInfo(protocol="dual echo", echo_time_ms=20.0, repetition_time_ms=900.0),
        SequenceInfo(protocol="dual echo", echo_time_ms=80.0, repetition_time_ms=900.0),
    )
    path, data = tmp_path / "scan.h5", noise_like((2, 3, 8, 2, 6))
    with open_writer(path, replace(LAYOUT, sequences=sequences)) as writer:
        for contrast in range(2):
            for repetition in range(3):
                lines = data[contrast, repetition]
                writer.lines(lines, np.arange(8), contrast=contrast, repetition=repetition)
    with open_measurement(path, sha256=SHA) as measurement:
        assert measurement.scans == ((0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2))
        scan = measurement.scan(1, 2)
        np.testing.assert_allclose(scan.load(0).data, data[1, 2].transpose(1, 2, 0), atol=1e-6)
        assert (scan.contrast, scan.repetition) == (1, 2)
        assert (scan.sequence.echo_time_ms, scan.sequence.repetition_time_ms) == (80.0, 900.0)
        assert scan.sequence.protocol == "dual echo"
        with pytest.raises(KeyError, match="contrast 2, repetition 0"):
            measurement.scan(2, 0)


def test_channels_are_whitened_by_the_noise_measurement(tmp_path: Path) -> None:
    """Noise of standard deviation 2 in channel 0, 0.5 in channel 1, uncorrelated by construction.

    Twice the dwell time halves the noise variance of the image: factors sqrt(2)/2 and sqrt(2)/0.5.
    """
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    noise = np.array([[2, 2j, -2, -2j], [0.5, -0.5, 0.5, -0.5]], dtype=np.complex64)
    with open_writer(path, LAYOUT) as writer:
        writer.noise(noise, sample_time_us=LAYOUT.sample_time_us / 2)
        writer.lines(data[0].transpose(2, 0, 1), np.arange(8))
    with open_measurement(path, sha256=SHA) as measurement:
        scan = measurement.scan()
        assert scan.whitened
        factors = np.sqrt(2) / np.array([2.0, 0.5])
        np.testing.assert_allclose(scan.load(0).data, factors[:, None, None] * data[0], rtol=1e-4, atol=1e-5)
    with open_measurement(path, sha256=SHA, settings=RAW) as measurement:
        assert not measurement.scan().whitened
        np.testing.assert_allclose(measurement.scan().load(0).data, data[0], atol=1e-6)


def test_a_scan_without_noise_measurement_is_not_whitened(tmp_path: Path) -> None:
    write_measurement(tmp_path / "scan.h5", noise_like((1, 2, 6, 8)), np.ones(8, dtype=bool), LAYOUT)
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        assert not measurement.scan().whitened


def test_whitening_matches_whitening_before_the_oversampling_is_removed(tmp_path: Path) -> None:
    """Unit variance survives: white noise readouts with 2x oversampling stay white, per sample."""
    rng, n_lines = np.random.default_rng(3), 64
    layout = replace(
        LAYOUT,
        matrix=(64, n_lines, 1),
        field_of_view_mm=(128.0, 64.0, 5.0),
        recon_matrix=(32, n_lines, 1),
        recon_field_of_view_mm=(64.0, 64.0, 5.0),
    )
    mixing = np.array([[3.0, 0.0], [1.0 - 2.0j, 0.7]])

    def correlated(n: int) -> np.ndarray:
        return (mixing @ (rng.standard_normal((2, n)) + 1j * rng.standard_normal((2, n)))).astype(
            np.complex64
        )

    with open_writer(tmp_path / "scan.h5", layout) as writer:
        writer.noise(correlated(40_000))
        writer.lines(correlated(n_lines * 64).reshape(2, n_lines, 64).swapaxes(0, 1), np.arange(n_lines))
    data = load(tmp_path / "scan.h5", reader=ReaderSettings()).data.reshape(2, -1)
    np.testing.assert_allclose(data @ data.conj().T / data.shape[1], np.eye(2), atol=0.08)


SLAB = ScanLayout(matrix=(6, 5, 4), field_of_view_mm=(60.0, 50.0, 40.0), n_coils=2, three_dimensional=True)


@pytest.mark.parametrize("oversampling", [1, 2])
def test_three_dimensional_scan_is_read_plane_by_plane(tmp_path: Path, oversampling: int) -> None:
    planes = noise_like((6, 2, 5, 4))
    sampled = np.random.default_rng(5).uniform(size=(5, 4)) < 0.6
    layout = replace(SLAB, readout_oversampling=oversampling)
    write_measurement(tmp_path / "scan.h5", planes, sampled, layout)
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        scan = measurement.scan()
        assert (scan.shape, scan.sequence.three_dimensional) == ((6, 2, 5, 4), True)
        for x in (5, 0, 3):
            plane = scan.load(x)
            np.testing.assert_array_equal(plane.sampled, sampled)
            np.testing.assert_allclose(plane.data, planes[x] * sampled, atol=1e-5)
            assert plane.calibration is None


def test_three_dimensional_averages_and_calibration(tmp_path: Path) -> None:
    planes = noise_like((2, 6, 2, 5, 4))
    readouts = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(planes, 1), axis=1, norm="ortho"), 1)
    outer, centre = (np.array([0, 4]), np.array([0, 3])), np.meshgrid([1, 2, 3], [1, 2, 3], indexing="ij")
    with open_writer(tmp_path / "scan.h5", SLAB) as writer:
        for average in range(2):
            block = readouts[average][:, :, outer[0], outer[1]].transpose(2, 1, 0)
            writer.lines(block[::-1], outer[0][::-1], step_2=outer[1][::-1], average=average)
        step_1, step_2 = (g.ravel() for g in centre)
        block = readouts[0][:, :, step_1, step_2].transpose(2, 1, 0)
        writer.lines(block, step_1, step_2=step_2, flags=(Flag.PARALLEL_CALIBRATION,))
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        plane = measurement.scan().load(4)
    assert np.argwhere(plane.sampled).tolist() == [[0, 0], [4, 3]]
    np.testing.assert_allclose(plane.data[:, [0, 4], [0, 3]], planes.mean(0)[4][:, [0, 4], [0, 3]], atol=1e-5)
    assert plane.calibration is not None
    np.testing.assert_allclose(plane.calibration, planes[0, 4][:, 1:4, 1:4], atol=1e-5)


def test_scratch_file_of_a_3d_scan_leaves_nothing_behind(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    write_measurement(tmp_path / "scan.h5", noise_like((6, 2, 5, 4)), np.ones((5, 4), dtype=bool), SLAB)
    with open_measurement(
        tmp_path / "scan.h5", sha256=SHA, settings=ReaderSettings(scratch=scratch)
    ) as measurement:
        measurement.scan().load(0)
        assert list(scratch.iterdir()) == []
