"""ESPIRiT on the coarse grid against SigPy's and BART's full-grid maps; the defined answers."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from lfmri_node.recon.errors import UnsupportedAcquisition
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.coilmaps import calibration_data, estimate, estimate_full_grid, resample
from lfmri_node.recon.sense.compression import compress
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.types import CoilMaps, KSpace


def scan(
    shape: tuple[int, int] = (120, 96), n_coils: int = 6, n_centre: int = 24
) -> tuple[KSpace, np.ndarray]:
    rng = np.random.default_rng(3)
    image = phantom_volume(1, shape, rng)[0] * object_phase(shape, rng)
    maps = loop_coils(n_coils, shape, rng)
    lines = centre_lines(shape[1], n_centre / shape[1])
    lines[::5] = True
    return measure(image.astype(np.complex64), maps, lines, 0.002, rng), np.abs(image)


def difference(ours: CoilMaps, theirs: np.ndarray, where: np.ndarray) -> float:
    """Relative difference of maps (c, r, p) on ``where``; the common phase of a pixel is free."""
    inner = (ours.maps.conj() * theirs).sum(0)
    turned = ours.maps * np.exp(1j * np.angle(inner))
    return float(np.linalg.norm((turned - theirs)[:, where]) / np.linalg.norm(theirs[:, where]))


@pytest.mark.parametrize(("shape", "n_centre"), [((120, 96), 24), ((97, 110), 16), ((96, 96), 9)])
def test_equals_sigpys_full_grid_maps_where_signal_is(shape, n_centre):
    kspace, image = scan(shape, n_centre=n_centre)
    ours, oracle = estimate(kspace), estimate_full_grid(kspace)
    signal = (image > 0.1 * image.max()) & ours.support & oracle.support
    assert signal.mean() > 0.2
    assert difference(ours, oracle.maps, signal) < 0.003


def test_equals_barts_maps_where_signal_is(program: Callable[[str], Path], tmp_path: Path):
    bart = program("bart")
    kspace, image = scan()
    write_cfl(tmp_path / "kspace", kspace.data.transpose(1, 2, 0)[:, :, None, :])
    subprocess.run(
        [bart, "ecalib", "-m1", "-k6", "-r24", str(tmp_path / "kspace"), str(tmp_path / "maps")],
        check=True,
        capture_output=True,
    )
    theirs = read_cfl(tmp_path / "maps")[:, :, 0, :].transpose(2, 0, 1)
    ours = estimate(kspace)
    norm = np.linalg.norm(theirs, axis=0)
    signal = (image > 0.1 * image.max()) & ours.support & (norm > 0)
    assert signal.mean() > 0.2
    assert difference(ours, theirs / np.maximum(norm, 1e-6), signal) < 0.02


def write_cfl(path: Path, array: np.ndarray) -> None:
    path.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(str(n) for n in array.shape) + "\n")
    array.astype(np.complex64).ravel(order="F").tofile(path.with_suffix(".cfl"))


def read_cfl(path: Path) -> np.ndarray:
    shape = [int(n) for n in path.with_suffix(".hdr").read_text().split("\n")[1].split()]
    array = np.fromfile(path.with_suffix(".cfl"), dtype=np.complex64).reshape(shape, order="F")
    return array.reshape(shape[:4])


def test_unit_sum_of_squares_on_the_support_and_zero_elsewhere():
    maps = estimate(scan()[0])
    norm = np.linalg.norm(maps.maps, axis=0)
    np.testing.assert_allclose(norm[maps.support], 1.0, atol=1e-5)
    assert np.all(norm[~maps.support] == 0)


def test_a_slice_without_signal_has_no_support():
    kspace, _ = scan()
    empty = estimate(KSpace(data=np.zeros_like(kspace.data), sampled=kspace.sampled))
    assert not empty.support.any()
    assert not empty.maps.any()


def test_one_coil_has_a_map_of_ones():
    kspace, _ = scan(n_coils=1)
    maps = estimate(kspace)
    assert maps.support.all()
    np.testing.assert_allclose(maps.maps, 1.0, atol=1e-6)


def test_few_calibration_lines_give_low_resolution_maps():
    kspace, image = scan(n_centre=5)
    few, many = estimate(kspace), estimate(scan()[0])
    signal = (image > 0.3) & few.support & many.support
    assert difference(few, many.maps, signal) < 0.35


def test_an_unsampled_centre_is_refused():
    kspace, _ = scan()
    sampled = kspace.sampled.copy()
    sampled[sampled.size // 2] = False
    with pytest.raises(UnsupportedAcquisition, match="LF-CAL-001"):
        estimate(KSpace(data=kspace.data * sampled, sampled=sampled))


def test_separate_calibration_lines_serve_where_they_reach_further():
    kspace, image = scan()
    full = estimate(kspace)
    sampled = np.zeros_like(kspace.sampled)
    sampled[::4] = True
    separate = np.ascontiguousarray(calibration_data(kspace))
    thinned = KSpace(data=kspace.data * sampled, sampled=sampled, calibration=separate)
    assert difference(estimate(thinned), full.maps, (image > 0.1) & full.support) < 1e-4


def test_compression_keeps_the_signal_and_white_noise_white():
    kspace, _ = scan(n_coils=8)
    fewer = compress(kspace, 5)
    assert fewer.data.shape[0] == 5
    assert np.linalg.norm(fewer.data) > 0.95 * np.linalg.norm(kspace.data)
    rng = np.random.default_rng(0)
    noise = (rng.standard_normal((8, 60, 60)) + 1j * rng.standard_normal((8, 60, 60))).astype(np.complex64)
    white = compress(KSpace(data=noise, sampled=np.ones(60, dtype=bool)), 3).data.reshape(3, -1)
    np.testing.assert_allclose(np.cov(white), 2 * np.eye(3), atol=0.25)
    assert compress(kspace, 8) is kspace


class TestResample:
    @pytest.mark.parametrize(("mode", "periodic"), [("grid-wrap", True), ("nearest", False)])
    def test_is_scipys_cubic_spline_with_the_centre_at_half_the_size(self, mode, periodic):
        planes = np.random.default_rng(0).standard_normal((2, 12, 15)).astype(np.float32)
        rows = (np.arange(31) - 31 // 2) * (12 / 31) + 12 // 2
        columns = (np.arange(20) - 20 // 2) * (15 / 20) + 15 // 2
        where = np.meshgrid(rows, columns, indexing="ij")
        for plane, found in zip(planes, resample(planes, (31, 20), periodic=periodic), strict=True):
            oracle = ndimage.map_coordinates(plane.astype(float), where, order=3, mode=mode)
            np.testing.assert_allclose(found, oracle, atol=1e-4)

    def test_a_finer_grid_holds_the_coarse_one(self):
        planes = np.random.default_rng(1).standard_normal((3, 10, 8, 2)).view(np.complex128)[..., 0]
        np.testing.assert_allclose(resample(planes, (30, 16))[:, ::3, ::2], planes, atol=1e-5)

    def test_what_is_not_periodic_does_not_leak_around_the_edges(self):
        """Maps of loops differ between opposite edges: a periodic spline would ring there."""
        maps = loop_coils(6, (48, 48), np.random.default_rng(2))
        fine = loop_coils(6, (144, 144), np.random.default_rng(2))
        grid = np.abs(resample(np.abs(maps), (144, 144), periodic=False) - np.abs(fine))
        wrapped = np.abs(resample(np.abs(maps), (144, 144)) - np.abs(fine))
        edge = np.ones((144, 144), dtype=bool)
        edge[6:-6, 6:-6] = False
        assert grid[:, edge].max() < 0.5 * wrapped[:, edge].max()
