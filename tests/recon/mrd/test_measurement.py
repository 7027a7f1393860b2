"""Where `open_measurement` puts the samples of a 2-D scan, and which files it opens."""

import hashlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def space_xml(matrix: tuple[int, ...], field_of_view_mm: tuple[float, ...]) -> str:
    sizes = "".join(f"<{axis}>{n}</{axis}>" for axis, n in zip("xyz", matrix, strict=True))
    lengths = "".join(f"<{axis}>{mm}</{axis}>" for axis, mm in zip("xyz", field_of_view_mm, strict=True))
    return f"<matrixSize>{sizes}</matrixSize><fieldOfView_mm>{lengths}</fieldOfView_mm>"


@st.composite
def scans(draw: st.DrawFn) -> tuple[ScanLayout, np.ndarray, np.ndarray, int, int]:
    n_r, n_p, n_coils, n_slices = (draw(st.integers(1, top)) for top in (9, 9, 4, 4))
    sampled = np.array(draw(st.lists(st.booleans(), min_size=n_p, max_size=n_p)))
    sampled[draw(st.integers(0, n_p - 1))] = True
    layout = ScanLayout(
        matrix=(n_r, n_p, 1),
        field_of_view_mm=(10.0 * n_r, 10.0 * n_p, 5.0),
        n_coils=n_coils,
        positions_mm=tuple((0.0, 0.0, 5.0 * s) for s in draw(st.permutations(range(n_slices)))),
        readout_oversampling=draw(st.integers(1, 3)),
    )
    n_averages, seed = draw(st.integers(1, 3)), draw(st.integers(0, 2**16))
    return layout, noise_like((n_averages, n_slices, n_coils, n_r, n_p), seed), sampled, n_averages, seed


@settings(max_examples=60, deadline=None)
@given(scans())
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[ScanLayout, np.ndarray, np.ndarray, int, int]
) -> None:
    """Any line order, mask, averages, oversampling and slice order gives the written samples."""
    layout, kspace, sampled, n_averages, seed = case
    path = tmp_path_factory.mktemp("round") / "scan.h5"
    lines = np.flatnonzero(sampled)
    order = [(a, s, p) for a in range(n_averages) for s in range(kspace.shape[1]) for p in lines]
    np.random.default_rng(seed).shuffle(order)
    with open_writer(path, layout) as writer:
        for a, s, p in order:
            line = kspace[a, s, :, :, p][None]
            writer.lines(line, np.array([p]), slice_counter=int(s), average=int(a))
    expected = np.where(sampled, kspace.mean(axis=0), 0)
    heights = [position[2] for position in layout.positions_mm]
    with open_measurement(path, sha256=SHA) as measurement:
        scan = measurement.scan()
        assert (scan.shape, scan.n_averages) == (kspace.shape[1:], n_averages)
        for delivered, counter in enumerate(np.argsort(heights)):
            loaded = scan.load(delivered)
            np.testing.assert_array_equal(loaded.sampled, sampled)
            np.testing.assert_allclose(loaded.data, expected[counter], atol=2e-5)
            assert loaded.calibration is None


def test_lines_averaged_unequally_are_each_their_own_mean(tmp_path: Path) -> None:
    data = noise_like((3, 2, 6, 8))
    with open_writer(tmp_path / "scan.h5", LAYOUT) as writer:
        for average in range(3):
            lines = np.arange(8) if average == 0 else np.array([3, 4])
            writer.lines(data[average][:, :, lines].transpose(2, 0, 1), lines, average=average)
    loaded = load(tmp_path / "scan.h5").data
    np.testing.assert_allclose(loaded[:, :, [3, 4]], data.mean(axis=0)[:, :, [3, 4]], atol=1e-6)
    np.testing.assert_allclose(loaded[:, :, [0, 7]], data[0][:, :, [0, 7]], atol=1e-6)


def test_partial_fourier_is_placed_by_the_centre_of_its_limits(tmp_path: Path, edit_mrd: Edit) -> None:
    """Counters 0..5 with center 2 on a grid of 8: counter k stands at 8 // 2 - 2 + k."""
    path, data = tmp_path / "scan.h5", noise_like((6, 2, 6))
    with open_writer(path, LAYOUT) as writer:
        writer.lines(data, np.arange(6))
    edit_mrd(path, xml=(b"<center>4</center>", b"<center>2</center>"))
    loaded = load(path)
    np.testing.assert_array_equal(loaded.sampled, [False, False] + [True] * 6)
    np.testing.assert_allclose(loaded.data[:, :, 2:], data.transpose(1, 2, 0), atol=1e-6)
    np.testing.assert_array_equal(loaded.data[:, :, :2], 0)


def short_readouts(edit_mrd: Edit, path: Path, samples: np.ndarray, **heads: object) -> None:
    """A file whose readouts (lines, c, n) are shorter than the encoded matrix says."""
    with open_writer(path, replace(LAYOUT, matrix=(samples.shape[-1], 8, 1))) as writer:
        writer.lines(samples, np.arange(samples.shape[0]))
    edit_mrd(path, xml=(f"<x>{samples.shape[-1]}</x>".encode(), b"<x>6</x>"), **heads)


def test_asymmetric_echo_is_zero_filled_by_its_centre_sample(tmp_path: Path, edit_mrd: Edit) -> None:
    """Four samples of six with the echo at sample 1: sample j stands at 6 // 2 - 1 + j."""
    path, data = tmp_path / "scan.h5", noise_like((8, 2, 4))
    short_readouts(edit_mrd, path, data, center_sample=1)
    loaded = load(path).data
    np.testing.assert_allclose(loaded[:, 2:], data.transpose(1, 2, 0), atol=1e-6)
    np.testing.assert_array_equal(loaded[:, :2], 0)


def test_discarded_samples_are_left_out(tmp_path: Path, edit_mrd: Edit) -> None:
    path, data = tmp_path / "scan.h5", noise_like((8, 2, 5))
    short_readouts(edit_mrd, path, data, center_sample=3, discard_pre=1, discard_post=2)
    loaded = load(path).data
    np.testing.assert_allclose(loaded[:, 1:3], data[:, :, 1:3].transpose(1, 2, 0), atol=1e-6)
    np.testing.assert_array_equal(loaded[:, [0, 3, 4, 5]], 0)


def test_backward_readouts_meet_the_forward_ones(tmp_path: Path) -> None:
    """Line 1 is recorded backwards with its echo at time sample 3 of 6, hence at index 2 after turning."""
    path, data = tmp_path / "scan.h5", noise_like((8, 2, 6))
    with open_writer(path, LAYOUT) as writer:
        writer.lines(data[[0]], np.array([0]))
        writer.lines(data[[1]], np.array([1]), flags=(Flag.REVERSE,))
    loaded = load(path).data
    np.testing.assert_allclose(loaded[:, :, 0], data[0], atol=1e-6)
    np.testing.assert_allclose(loaded[:, 1:, 1], data[1][:, ::-1][:, :5], atol=1e-6)
    np.testing.assert_array_equal(loaded[:, 0, 1], 0)


def test_centre_sample_that_was_never_set_counts_as_the_middle(tmp_path: Path, edit_mrd: Edit) -> None:
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_measurement(path, data, np.ones(8, dtype=bool), LAYOUT)
    edit_mrd(path, center_sample=0)
    np.testing.assert_allclose(load(path).data, data[0], atol=1e-6)


@pytest.mark.parametrize(
    "flag",
    [
        Flag.NAVIGATION_DATA,
        Flag.PHASECORR_DATA,
        Flag.HPFEEDBACK_DATA,
        Flag.RTFEEDBACK_DATA,
        Flag.DUMMYSCAN_DATA,
        Flag.SURFACECOILCORRECTIONSCAN_DATA,
        Flag.PHASE_STABILIZATION,
        Flag.PHASE_STABILIZATION_REFERENCE,
    ],
)
def test_lines_that_are_no_image_are_skipped(tmp_path: Path, flag: Flag) -> None:
    path, data = tmp_path / "scan.h5", noise_like((8, 2, 6))
    with open_writer(path, LAYOUT) as writer:
        writer.lines(100 * data[:2], np.array([3, 5]), flags=(flag,))
        writer.lines(data[2:4], np.array([3, 4]))
    loaded = load(path)
    assert np.flatnonzero(loaded.sampled).tolist() == [3, 4]
    np.testing.assert_allclose(loaded.data[:, :, 3], data[2], atol=1e-6)


@pytest.mark.parametrize("field", [27.0, 40.0])
def test_partly_kept_voxels_are_kept_whole(tmp_path: Path, field: float) -> None:
    """Of 8 voxels of 10 mm, a field of view of 27 mm needs 3 and one of 40 mm needs 4."""
    layout = replace(
        LAYOUT,
        matrix=(8, 8, 1),
        field_of_view_mm=(80.0, 80.0, 5.0),
        recon_field_of_view_mm=(field, 80.0, 5.0),
    )
    write_measurement(tmp_path / "scan.h5", noise_like((1, 2, 8, 8)), np.ones(8, dtype=bool), layout)
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        assert measurement.scan().shape == (1, 2, int(np.ceil(field / 10)), 8)
        assert measurement.scan().display.crop[0] == pytest.approx(field / 10)


def test_a_file_object_is_read_in_place(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_measurement(path, data, np.ones(8, dtype=bool), LAYOUT)
    content = path.read_bytes()
    with open_measurement(io.BytesIO(content)) as measurement:
        np.testing.assert_allclose(measurement.scan().load(0).data, data[0], atol=1e-6)
        assert measurement.source_sha256 == hashlib.sha256(content).hexdigest()
    with open_measurement(path) as measurement:
        assert measurement.scan().source_sha256 == hashlib.sha256(content).hexdigest()


def test_slices_cannot_be_loaded_from_a_closed_measurement(tmp_path: Path) -> None:
    write_measurement(tmp_path / "scan.h5", noise_like((1, 2, 6, 8)), np.ones(8, dtype=bool), LAYOUT)
    with open_measurement(tmp_path / "scan.h5", sha256=SHA) as measurement:
        scan = measurement.scan()
    with pytest.raises(ValueError, match="the measurement is closed"):
        scan.load(0)


def test_the_group_is_found_or_named(tmp_path: Path) -> None:
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_measurement(path, data, np.ones(8, dtype=bool), LAYOUT)
    with h5py.File(path, "r+") as file:
        file.copy("dataset", "second")
        file["dataset/data"].resize(3, axis=0)
        file.create_group("images")
    assert load(path, reader=ReaderSettings(group="second")).sampled.sum() == 8
    assert load(path, reader=ReaderSettings(group="dataset")).sampled.sum() == 3


def test_old_header_without_optional_fields_is_read(tmp_path: Path) -> None:
    """No namespace, no system information, no limits, no reconSpace, no trajectory."""
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_measurement(path, data, np.ones(8, dtype=bool), LAYOUT)
    encoding = f"<encoding><encodedSpace>{space_xml((6, 8, 1), (60, 80, 5))}</encodedSpace></encoding>"
    with h5py.File(path, "r+") as file:
        file["dataset/xml"][0] = f"<ismrmrdHeader>{encoding}</ismrmrdHeader>"
    with open_measurement(path, sha256=SHA) as measurement:
        scan = measurement.scan()
        np.testing.assert_allclose(scan.load(0).data, data[0], atol=1e-6)
        assert scan.sequence == SequenceInfo()
        assert scan.geometry.spacing_mm == (5.0, 10.0, 10.0)


def test_the_encoding_with_the_images_is_taken(tmp_path: Path, edit_mrd: Edit) -> None:
    path, data = tmp_path / "scan.h5", noise_like((1, 2, 6, 8))
    write_measurement(path, data, np.ones(8, dtype=bool), LAYOUT)
    other = f"<encoding><encodedSpace>{space_xml((9, 9, 1), (9, 9, 9))}</encodedSpace></encoding>"
    edit_mrd(path, xml=(b"<encoding>", other.encode() + b"<encoding>"), encoding_space_ref=1)
    with open_measurement(path, sha256=SHA) as measurement:
        assert measurement.encoding == 1
        np.testing.assert_allclose(measurement.scan().load(0).data, data[0], atol=1e-6)
