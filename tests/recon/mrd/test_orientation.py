"""Conventions: which of them differ, what is said of them; a turned image is what the reader makes."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from lfmri_node.recon.mrd.measurement import ReaderSettings, open_measurement
from lfmri_node.recon.mrd.orientation import distinguishable, same_image, turned, with_caution
from lfmri_node.recon.mrd.write import ScanLayout, open_writer
from lfmri_node.recon.types import Convention, SequenceInfo

SHA = "0" * 64


def settings_of(convention: Convention) -> ReaderSettings:
    return ReaderSettings(
        fft_sign=convention.fft_sign,
        flip_readout=convention.flip_readout,
        flip_phase=convention.flip_phase,
        flip_partition=convention.flip_partition,
    )


def written(path: Path, n_readout: int, n_phase: int, vendor: str | None = None) -> Path:
    rng = np.random.default_rng(3)
    layout = ScanLayout(
        matrix=(n_readout, n_phase, 1),
        field_of_view_mm=(8.0 * n_readout, 8.0 * n_phase, 5.0),
        n_coils=2,
        sequences=(SequenceInfo(system_vendor=vendor),),
    )
    samples = rng.standard_normal((n_phase, 2, n_readout, 2)) @ np.array([1.0, 1.0j])
    with open_writer(path, layout) as writer:
        writer.lines(samples.astype(np.complex64), np.arange(n_phase))
    return path


def image(path: Path, convention: Convention) -> np.ndarray:
    """Complex image (c, r, p) by the closed form of the transform, with the settings of the site."""
    with open_measurement(path, sha256=SHA, settings=settings_of(convention)) as measurement:
        data = measurement.scan().load(0).data
    n_r, n_p = data.shape[1:]
    x, y = np.arange(n_r) - n_r // 2, np.arange(n_p) - n_p // 2
    rows, columns = np.exp(2j * np.pi * np.outer(x, x) / n_r), np.exp(2j * np.pi * np.outer(y, y) / n_p)
    return np.asarray(rows @ data @ columns)


@pytest.mark.parametrize(("n_readout", "n_phase"), [(8, 6), (7, 9), (8, 9)])
def test_of_eight_settings_four_images_come_and_each_is_the_turned_one(
    tmp_path: Path, n_readout: int, n_phase: int
) -> None:
    path = written(tmp_path / "scan.h5", n_readout, n_phase)
    plain = image(path, Convention())
    found = distinguishable(three_dimensional=False)
    assert len(found) == 4
    for sign, flip_readout, flip_phase in itertools.product((-1, 1), (False, True), (False, True)):
        one = Convention(fft_sign=sign, flip_readout=flip_readout, flip_phase=flip_phase)
        (equal,) = [other for other in found if same_image(one, other, three_dimensional=False)]
        shown = turned(plain, (False, *equal.reversed_axes[:2]))
        np.testing.assert_allclose(image(path, one), shown, atol=1e-4)
    images = [turned(plain, (False, *one.reversed_axes[:2])) for one in found]
    assert all(np.abs(a - b).max() > 1 for a, b in itertools.combinations(images, 2))


def test_each_image_is_named_by_the_fewest_keys_and_the_first_by_none() -> None:
    flat, slab = (distinguishable(three_dimensional=three) for three in (False, True))
    assert flat == (
        Convention(),
        Convention(flip_readout=True),
        Convention(flip_phase=True),
        Convention(fft_sign=1),
    )
    assert len({one.reversed_axes for one in slab}) == len(slab) == 8
    assert Convention(fft_sign=1) in slab
    assert not same_image(flat[3], Convention(flip_readout=True, flip_phase=True), three_dimensional=True)


def test_conjugated_samples_show_the_conjugate_of_the_image_with_the_other_sign(tmp_path: Path) -> None:
    path = written(tmp_path / "scan.h5", 8, 6)
    plain = image(path, Convention())
    with open_measurement(path, sha256=SHA) as measurement:
        data = measurement.scan().load(0).data
    layout = ScanLayout(matrix=(8, 6, 1), field_of_view_mm=(64.0, 48.0, 5.0), n_coils=2)
    with open_writer(tmp_path / "conjugated.h5", layout) as writer:
        writer.lines(data.conj().transpose(2, 0, 1), np.arange(6))
    other_sign = image(tmp_path / "conjugated.h5", Convention(fft_sign=1))
    np.testing.assert_allclose(other_sign, plain.conj(), atol=1e-4)


@pytest.mark.parametrize(
    ("vendor", "convention", "cautioned"),
    [
        ("SIEMENS", Convention(), True),
        ("Siemens Healthineers", Convention(), True),
        ("SIEMENS", Convention(fft_sign=1), False),
        ("GE MEDICAL SYSTEMS", Convention(), False),
        (None, Convention(), False),
    ],
)
def test_what_is_known_of_a_vendor_is_said_and_changes_nothing_else(
    vendor: str | None, convention: Convention, cautioned: bool
) -> None:
    told = with_caution(convention, vendor)
    assert told.reversed_axes == convention.reversed_axes
    assert ("mirrored" in told.describe()) is cautioned


def test_a_scan_carries_its_convention_with_date_or_caution(tmp_path: Path) -> None:
    path = written(tmp_path / "scan.h5", 8, 6, vendor="SIEMENS")
    with open_measurement(path, sha256=SHA) as measurement:
        default = measurement.scan().convention
    verified = ReaderSettings(fft_sign=1, flip_phase=True, orientation_verified="2026-11-29")
    with open_measurement(path, sha256=SHA, settings=verified) as measurement:
        settled = measurement.scan().convention
    assert default.describe().startswith(
        "Orientation: fft_sign -1, no flips; not verified against the scanner's own images (mirrored"
    )
    assert settled.describe() == (
        "Orientation: fft_sign +1, flip_phase; compared with the scanner's own images on 2026-11-29."
    )
