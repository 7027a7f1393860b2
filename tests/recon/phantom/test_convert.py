"""npz arrays to ISMRMRD: on small generated arrays, and on the measured ones where they are there."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.phantom.convert import convert_npz
from lfmri_node.recon.types import KSpace, RawScan

SHA = "0" * 64
SharedData = Callable[[str], Path]


def to_kspace(images: np.ndarray) -> np.ndarray:
    axes = (-2, -1)
    spectrum = np.fft.fft2(np.fft.ifftshift(images, axes), norm="ortho")
    return np.fft.fftshift(spectrum, axes).astype(np.complex64)


def to_images(kspace: np.ndarray) -> np.ndarray:
    axes = (-2, -1)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes), norm="ortho"), axes)


def object_image(n_r: int, n_p: int) -> np.ndarray:
    """An ellipse with a bright spot near the first row and the last column."""
    rows, columns = np.mgrid[-1 : 1 : n_r * 1j, -1 : 1 : n_p * 1j]
    image = ((rows / 0.8) ** 2 + (columns / 0.6) ** 2 < 1).astype(float)
    image[n_r // 5, n_p * 2 // 3] = 5.0
    return image


def coils(n_coils: int, n_r: int, n_p: int) -> np.ndarray:
    """Smooth sensitivities, unit sum of squares."""
    rows, columns = np.mgrid[-1 : 1 : n_r * 1j, -1 : 1 : n_p * 1j]
    angles = 2 * np.pi * np.arange(n_coils)[:, None, None] / n_coils
    maps = np.exp(-((rows - np.sin(angles)) ** 2 + (columns - np.cos(angles)) ** 2) / 2 + 1j * angles)
    return maps / np.sqrt((np.abs(maps) ** 2).sum(axis=0))


def load(path: Path, contrast: int = 0) -> tuple[RawScan, list[KSpace]]:
    with open_measurement(path, sha256=SHA) as measurement:
        scan = measurement.scan(contrast)
        return scan, [scan.load(s) for s in range(scan.n_slices)]


@pytest.fixture
def two_flips(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """13ch-like: two flip angles, the second image twice as bright."""
    image = object_image(48, 40)
    kspace = to_kspace(np.stack([image, 2 * image])[:, None] * coils(4, 48, 40))
    np.savez(tmp_path / "in.npz", kspace=kspace, flip_deg=np.float32([3, 19]))
    return tmp_path / "in.npz", kspace


def test_random_lines_and_truth(two_flips: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    source, kspace = two_flips
    conversion = convert_npz(source, tmp_path / "out.h5", accel=4, seed=0)
    scan, slices = load(conversion.path)
    assert scan.shape == (1, 4, 48, 40)
    assert scan.sequence.flip_angle_deg == 3.0
    sampled = slices[0].sampled
    assert sampled[20 - 1 : 20 + 2].all()  # 0.08 of 40 lines around the centre
    assert conversion.acceleration == pytest.approx(40 / sampled.sum())
    assert 2.5 < conversion.acceleration < 6
    np.testing.assert_allclose(slices[0].data, np.where(sampled, kspace[0], 0), atol=1e-6)
    assert conversion.truth == tmp_path / "out.truth.npz"
    truth = np.load(conversion.truth)["truth"]
    assert truth.dtype == np.float32
    assert truth.shape == scan.geometry.matrix
    inside = object_image(48, 40) > 0
    expected = apply_display(object_image(48, 40)[None].astype(np.float32), scan.display)
    inside = expected > 0
    assert np.linalg.norm((truth - expected)[inside]) < 0.03 * np.linalg.norm(expected)


def test_seed_decides_the_mask(two_flips: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    masks = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        conversion = convert_npz(two_flips[0], tmp_path / f"{name}.h5", accel=4, seed=seed)
        masks.append(load(conversion.path)[1][0].sampled)
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_no_acceleration_writes_every_line(two_flips: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    conversion = convert_npz(two_flips[0], tmp_path / "out.h5", accel=1, seed=0)
    assert conversion.acceleration == 1.0
    np.testing.assert_allclose(load(conversion.path)[1][0].data, two_flips[1][0], atol=1e-6)


def test_key_chooses_the_flip_angle(two_flips: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    scan, slices = load(convert_npz(two_flips[0], tmp_path / "o.h5", accel=1, seed=0, key="19").path)
    assert scan.sequence.flip_angle_deg == 19.0
    np.testing.assert_allclose(slices[0].data, two_flips[1][1], atol=1e-6)
    with pytest.raises(InvalidRawData, match="LF-RAW-053: there are the flip angles 3, 19"):
        convert_npz(two_flips[0], tmp_path / "o.h5", accel=1, seed=0, key="7")


def test_all_flip_angles_are_contrasts(two_flips: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    conversion = convert_npz(two_flips[0], tmp_path / "o.h5", accel=2, seed=0, key="all")
    assert load(conversion.path, 1)[0].sequence.flip_angle_deg == 19.0
    assert conversion.truth is not None
    truths = np.load(conversion.truth)
    np.testing.assert_allclose(truths["truth_1"], 2 * truths["truth"], atol=1e-3)


def test_slices_keep_their_place_and_spacing(tmp_path: Path) -> None:
    """Stored from head to feet; delivered from feet to head, the truth with them."""
    images = np.stack([object_image(32, 30) * (s + 1) for s in range(3)])
    np.savez(tmp_path / "in.npz", P1_FSE=to_kspace(images), P1_GRE=to_kspace(images[:, :, :20]))
    conversion = convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=2, seed=0, key="P1_FSE")
    scan, slices = load(conversion.path)
    assert scan.shape == (3, 1, 32, 30)
    assert scan.sequence.field_strength_t == 0.055
    assert scan.geometry.spacing_mm == pytest.approx((10.0, 250 / 32, 250 / 30))
    assert scan.geometry.axis_s == pytest.approx((0.0, 0.0, 1.0))
    energy = [float(np.abs(k.data).sum()) for k in slices]
    assert energy == sorted(energy, reverse=True)
    assert conversion.truth is not None
    np.testing.assert_allclose(np.load(conversion.truth)["truth"], images[::-1], atol=1e-5)
    with pytest.raises(InvalidRawData, match="LF-RAW-053: there are the arrays P1_FSE, P1_GRE"):
        convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=2, seed=0, key="P2_FSE")


@pytest.mark.parametrize("pointwise", [True, False])
def test_undersampled_array_is_kept_as_it_is(tmp_path: Path, pointwise: bool) -> None:
    rng = np.random.default_rng(2)
    sampled = rng.uniform(size=(20, 18)) < 0.3 if pointwise else np.tile(rng.uniform(size=18) < 0.3, (20, 1))
    kspace = to_kspace(object_image(20, 18) * coils(3, 20, 18)) * sampled
    np.savez(tmp_path / "in.npz", kspace=kspace.astype(np.complex64))
    conversion = convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=4, seed=0)
    assert conversion.truth is None
    assert conversion.acceleration == pytest.approx(sampled.size / sampled.sum())
    scan, slices = load(conversion.path)
    assert scan.shape == (1, 3, 20, 18)
    assert scan.geometry.matrix == (1, 20, 18)
    assert scan.geometry.axis_y == (0.0, 1.0, 0.0)
    assert scan.sequence.three_dimensional == pointwise
    np.testing.assert_array_equal(slices[0].sampled, sampled if pointwise else sampled[0])
    np.testing.assert_allclose(slices[0].data, kspace, atol=1e-5)


def test_what_is_assumed_is_written_down(two_flips: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    path = convert_npz(two_flips[0], tmp_path / "out.h5", accel=4, seed=0).path
    protocol = load(path)[0].sequence.protocol
    assert protocol is not None
    assert "assumed" in protocol
    assert len(protocol) <= 64
    assert b"assumedOrientation" in path.read_bytes()


@pytest.mark.parametrize(
    ("arrays", "key", "code"),
    [
        ({"image": np.zeros((3, 4), dtype=np.complex64)}, None, "LF-RAW-052"),
        ({"image": np.zeros((3, 4, 5))}, "image", "LF-RAW-052"),
        ({}, None, "LF-RAW-052"),
        ({"kspace": np.zeros((2, 3, 4, 5), dtype=np.complex64)}, None, "LF-RAW-052"),
        ({"kspace": np.zeros((4, 5), dtype=np.complex64)}, None, "LF-RAW-052"),
        ({"kspace": np.zeros((3, 4, 5), dtype=np.complex64)}, "19", "LF-RAW-053"),
        ({"a": np.zeros((3, 4, 5), dtype=np.complex64)}, "b", "LF-RAW-053"),
    ],
)
def test_unknown_arrays_and_keys_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], key: str | None, code: str
) -> None:
    np.savez(tmp_path / "in.npz", **arrays)
    with pytest.raises(InvalidRawData, match=code):
        convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=4, seed=0, key=key)
    assert not (tmp_path / "o.h5").exists()


@pytest.mark.parametrize("content", [b"", b"no npz at all", b"PK\x03\x04 and then nothing"])
def test_a_file_that_is_no_npz_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.npz").write_bytes(content)
    with pytest.raises(InvalidRawData, match="LF-RAW-051"):
        convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=4, seed=0)


def test_a_single_array_is_no_npz(tmp_path: Path) -> None:
    with (tmp_path / "in.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InvalidRawData, match="LF-RAW-051"):
        convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=4, seed=0)


@pytest.mark.parametrize(("accel", "center"), [(0.5, None), (4.0, 0.9), (1.0, 1.0)])
def test_masks_that_cannot_be_are_refused(tmp_path: Path, accel: float, center: float | None) -> None:
    np.savez(tmp_path / "in.npz", kspace=np.ones((2, 8, 16), dtype=np.complex64))
    with pytest.raises(InvalidRawData, match="LF-RAW-054"):
        convert_npz(tmp_path / "in.npz", tmp_path / "o.h5", accel=accel, seed=0, center_fraction=center)


class TestMeasured:
    """The arrays of ../shared/data."""

    def test_13_channel_brain(self, shared_data: SharedData, tmp_path: Path) -> None:
        source = shared_data("raw_brain_13ch.npz")
        conversion = convert_npz(source, tmp_path / "o.h5", accel=4, seed=0)
        scan, _ = load(conversion.path)
        assert scan.shape == (1, 13, 224, 224)
        assert scan.geometry.spacing_mm == pytest.approx((5.0, 1.0, 1.0))
        truth = np.load(conversion.truth)["truth"][0]
        stored = np.load(source)["kspace"][0]
        rss = np.sqrt((np.abs(to_images(stored)) ** 2).sum(axis=0))
        head = rss > 0.2 * rss.max()
        assert np.corrcoef(truth[head], rss[head])[0, 1] > 0.99

    def test_prospective_8_channel_brain(self, shared_data: SharedData, tmp_path: Path) -> None:
        source = shared_data("raw_brain_8ch_prospective.npz")
        conversion = convert_npz(source, tmp_path / "o.h5", accel=4, seed=0)
        scan, slices = load(conversion.path)
        stored = np.load(source)["kspace"]
        assert conversion.truth is None
        np.testing.assert_allclose(slices[0].data, stored, atol=1e-4)
        np.testing.assert_array_equal(slices[0].sampled, (stored != 0).any(axis=0))
        assert scan.geometry.matrix == (1, 230, 180)

    @pytest.mark.parametrize("key", ["F6A_FLAIR", "S6A_GRE"])
    def test_ultra_low_field_brain(self, shared_data: SharedData, tmp_path: Path, key: str) -> None:
        source = shared_data("raw_brain_055T.npz")
        conversion = convert_npz(source, tmp_path / "o.h5", accel=2, seed=0, key=key)
        scan, slices = load(conversion.path)
        stored = np.load(source)[key][::-1]
        assert scan.shape == (4, 1, *stored.shape[1:])
        for s, loaded in enumerate(slices):
            np.testing.assert_allclose(loaded.data[0], stored[s] * loaded.sampled, atol=1e-6)
        np.testing.assert_allclose(np.load(conversion.truth)["truth"], np.abs(to_images(stored)), atol=1e-5)
