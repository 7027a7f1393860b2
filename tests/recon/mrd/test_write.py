"""Files of `mrd_write`, read with the public ismrmrd package."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from lfmri_node.recon.mrd.write import ScanLayout, open_writer, write_measurement
from lfmri_node.recon.types import ScanIdentity, SequenceInfo

LAYOUT = ScanLayout(
    matrix=(4, 5, 1),
    field_of_view_mm=(40.0, 50.0, 6.0),
    n_coils=2,
    positions_mm=((1.0, 2.0, 3.0), (1.0, 2.0, 9.0)),
    readout_oversampling=2,
    sequences=(
        SequenceInfo(protocol="T2", field_strength_t=0.3, repetition_time_ms=500.0, echo_time_ms=20.0),
    ),
    identity=ScanIdentity(patient_id="X1", accession_number="77", frame_of_reference_uid="1.2.3"),
    sample_time_us=4.0,
    notes={"origin": "test"},
)


def volume(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(np.complex64)


def test_public_package_reads_header_and_heads(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    sampled = np.array([True, False, True, True, False])
    write_measurement(path, volume((2, 2, 4, 5)), sampled, LAYOUT, noise=volume((2, 16)))
    with ismrmrd.File(path, "r") as file:
        header = file["dataset"].header
        acquisitions = list(file["dataset"].acquisitions)
    encoding = header.encoding[0]
    assert (encoding.encodedSpace.matrixSize.x, encoding.reconSpace.matrixSize.x) == (8, 4)
    assert encoding.encodedSpace.fieldOfView_mm.x == 80.0
    assert encoding.encodingLimits.kspace_encoding_step_1.center == 2
    assert encoding.trajectory is ismrmrd.xsd.trajectoryType.CARTESIAN
    assert header.acquisitionSystemInformation.systemFieldStrength_T == 0.3
    assert header.sequenceParameters.TE == [20.0]
    assert header.subjectInformation.patientID == "X1"
    assert header.studyInformation.accessionNumber == 77
    assert header.userParameters.userParameterString[0].value == "test"
    assert acquisitions[0].is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    images = acquisitions[1:]
    assert [a.idx.kspace_encode_step_1 for a in images] == [0, 2, 3, 0, 2, 3]
    assert [a.idx.slice for a in images] == [0, 0, 0, 1, 1, 1]
    assert [a.center_sample for a in images] == [4] * 6
    assert images[5].position[:] == [1.0, 2.0, 9.0]
    assert images[5].slice_dir[:] == [0.0, 0.0, 1.0]
    assert images[5].sample_time_us == 4.0


def test_readout_is_oversampled_without_changing_the_image(tmp_path: Path) -> None:
    """The inverse transform of a doubled readout shows the same voxels in the middle, scaled by 1."""
    path = tmp_path / "scan.h5"
    kspace = volume((2, 2, 4, 5))
    write_measurement(path, kspace, np.ones(5, dtype=bool), LAYOUT)
    with ismrmrd.File(path, "r") as file:
        line = next(a for a in file["dataset"].acquisitions if a.idx.kspace_encode_step_1 == 3).data
    long = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(line, 1), norm="ortho"), 1)
    short = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(kspace[0, :, :, 3], 1), norm="ortho"), 1)
    np.testing.assert_allclose(long[:, 2:6], short, atol=1e-6)
    np.testing.assert_allclose(long[:, [0, 1, 6, 7]], 0, atol=1e-6)


def test_lines_used_twice_are_flagged_for_both(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    sampled = np.array([True, False, True, False, True])
    reference = np.array([False, True, True, True, False])
    write_measurement(path, volume((2, 2, 4, 5)), sampled, LAYOUT, calibration=reference)
    with ismrmrd.File(path, "r") as file:
        of_slice = [a for a in file["dataset"].acquisitions if a.idx.slice == 0]
    both = [
        a.idx.kspace_encode_step_1
        for a in of_slice
        if a.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    ]
    only = [
        a.idx.kspace_encode_step_1 for a in of_slice if a.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    ]
    assert (both, only) == ([2], [1, 3])


def test_wrong_channel_count_is_a_programming_error(tmp_path: Path) -> None:
    with (
        open_writer(tmp_path / "scan.h5", LAYOUT) as writer,
        pytest.raises(ValueError, match="3 channels, the layout says 2"),
    ):
        writer.lines(volume((1, 3, 4)), np.array([0]))
