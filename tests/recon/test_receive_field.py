"""The estimated receive field against fields that were put there, and between two contrasts of one head."""

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from lfmri_node.recon.receive_field import LARGEST_FACTOR, REACH, estimate_receive_field

SIDE = 160
ROWS, COLUMNS = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
BODY = (ROWS / 0.85) ** 2 + (COLUMNS / 0.75) ** 2 < 1
WIDENED = ndimage.binary_dilation(BODY, iterations=6 + REACH)
RESIDUAL = 0.02
"""What may be left of a field of the kind that is fitted: standard deviation of its logarithm in the body."""


def anatomy(seed: int, n_slices: int = 1) -> np.ndarray:
    """f64 (s, y, x): regions of one brightness each inside a bright rim, others in each slice."""
    rng = np.random.default_rng(seed)
    volume = np.zeros((n_slices, SIDE, SIDE))
    inner = (ROWS / 0.78) ** 2 + (COLUMNS / 0.68) ** 2 < 1
    for plane in volume:
        plane[BODY] = 1.0
        plane[inner] = 0.55
        for _ in range(12):
            centre, radii = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.06, 0.3, 2)
            region = ((ROWS - centre[0]) / radii[0]) ** 2 + ((COLUMNS - centre[1]) / radii[1]) ** 2 < 1
            plane[region & ((ROWS / 0.7) ** 2 + (COLUMNS / 0.6) ** 2 < 1)] = rng.uniform(0.3, 1)
    return volume


def log_field(n_slices: int = 1) -> np.ndarray:
    """Brightest near the coils, as the root of the sum of squares of a coil around the body; and tilted."""
    through = np.linspace(-0.2, 0.2, n_slices)[:, None, None] if n_slices > 1 else 0.0
    plane = 0.4 * COLUMNS - 0.2 * ROWS + 0.35 * COLUMNS**2 + 0.25 * ROWS**2 + 0.1 * ROWS * COLUMNS
    return np.broadcast_to(plane + through, (n_slices, SIDE, SIDE))


def measured(volume: np.ndarray, seed: int = 0) -> np.ndarray:
    """With complex noise of a hundredth of the rim."""
    pairs = np.random.default_rng(seed).standard_normal((2, *volume.shape))
    return (volume + 0.01 * (pairs[0] + 1j * pairs[1])).astype(np.complex64)


def spread(logarithm: np.ndarray) -> float:
    """Standard deviation in the body, its edge left out."""
    inside = np.broadcast_to(ndimage.binary_erosion(BODY, iterations=2), logarithm.shape)
    return float(np.std(logarithm[inside]))


@pytest.mark.parametrize("n_slices", [1, 6])
@pytest.mark.parametrize("seed", range(4))
def test_a_field_that_was_put_there_is_removed(seed: int, n_slices: int) -> None:
    field = log_field(n_slices)
    factor = estimate_receive_field(measured(anatomy(seed, n_slices) * np.exp(field), seed)).factor
    assert spread(field) > 0.15
    assert spread(np.log(factor) + field) < RESIDUAL


@pytest.mark.parametrize("seed", range(4))
def test_where_there_is_no_field_nothing_is_evened_out(seed: int) -> None:
    assert spread(np.log(estimate_receive_field(measured(anatomy(seed))).factor)) < RESIDUAL


def test_a_constant_field_changes_nothing() -> None:
    image = measured(anatomy(0) * np.exp(log_field()))
    one, other = estimate_receive_field(image), estimate_receive_field(image * np.complex64(-1024j))
    np.testing.assert_allclose(one.factor, other.factor, rtol=1e-5)
    assert one.description == other.description


def test_air_is_left_as_it_is_and_the_factor_is_bounded_everywhere() -> None:
    image = measured(anatomy(1) * np.exp(3 * log_field()))
    factor = estimate_receive_field(image).factor
    assert np.all(factor[0][~WIDENED] == 1.0)
    assert factor.max() <= LARGEST_FACTOR * (1 + 1e-6)
    assert factor.min() >= (1 - 1e-6) / LARGEST_FACTOR
    assert factor.min() < 1.01 / LARGEST_FACTOR, "the field is strong enough to meet the bound"


@pytest.mark.parametrize("brightness", [0.3, 0.75, 1.3])
def test_the_contrast_of_a_lesion_stays(brightness: float) -> None:
    volume = np.where(BODY, 0.55, 0.0)[None]
    away = (ROWS + 0.3) ** 2 + (COLUMNS - 0.2) ** 2
    volume[0][away < 0.12**2] = brightness
    image = measured(volume * np.exp(log_field()))
    even = np.abs(image * estimate_receive_field(image).factor)[0]
    lesion, around = even[away < 0.1**2].mean(), even[(away > 0.14**2) & (away < 0.18**2)].mean()
    assert lesion / around == pytest.approx(brightness / 0.55, rel=0.02)


def test_a_large_region_of_other_brightness_is_no_field() -> None:
    volume = np.where(BODY & (COLUMNS > 0.1), 1.0, np.where(BODY, 0.5, 0.0))[None]
    image = measured(volume)
    even = np.abs(image * estimate_receive_field(image).factor)[0]
    right, left = even[BODY & (COLUMNS > 0.2)], even[BODY & (COLUMNS < 0.0)]
    assert right.mean() / left.mean() == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_too_little_tissue_is_told(level: float) -> None:
    image = np.zeros((1, 32, 32), dtype=np.complex64)
    image[0, 10:14, 10:14] = level
    found = estimate_receive_field(image)
    assert np.all(found.factor == 1.0)
    assert "not estimated" in found.description


def test_slices_without_signal_are_left_as_they_are() -> None:
    volume = anatomy(2, 4) * np.exp(log_field(4))
    volume[3] = 0.0
    factor = estimate_receive_field(measured(volume)).factor
    assert np.all(factor[3] == 1.0)
    assert spread(np.log(factor[:3]) + log_field(4)[:3]) < RESIDUAL


@pytest.fixture(scope="module")
def heads(shared_data) -> np.ndarray:
    """f64 (2, y, x): one slice of a head with flip angles of 3 and 19 degrees, measured with 13 coils."""
    with np.load(shared_data("raw_brain_13ch.npz")) as arrays:
        kspace = arrays["kspace"]
    axes = (-2, -1)
    coils = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes), norm="ortho"), axes)
    return np.asarray(np.sqrt((np.abs(coils) ** 2).sum(axis=1, dtype=np.float64)))


_Y, _X = np.mgrid[:224, :224]
BRAIN = ((_Y - 103) / 70) ** 2 + ((_X - 105) / 55) ** 2 < 1
"""In `heads`, by eye: inside the skull."""


def log_field_of(head: np.ndarray) -> np.ndarray:
    return -np.log(estimate_receive_field(head[None].astype(np.complex64)).factor[0])


def test_two_contrasts_of_one_head_in_one_coil_have_one_field(heads: np.ndarray) -> None:
    first, second = map(log_field_of, heads)
    assert first[BRAIN].std() > 0.14
    assert (first - second)[BRAIN].std() < 0.05


@pytest.mark.parametrize("contrast", [0, 1])
def test_itk_finds_the_same_field_in_a_measured_brain(heads: np.ndarray, contrast: int) -> None:
    """N4 (Tustison et al. 2010), another method by other people, on a grid of half the size."""
    coarse = heads[contrast].reshape(112, 2, 112, 2).mean(axis=(1, 3)).astype(np.float32)
    mask = BRAIN[::2, ::2]
    image, n4 = sitk.GetImageFromArray(coarse), sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations([50] * 3)
    n4.Execute(image, sitk.GetImageFromArray(mask.astype(np.uint8)))
    theirs = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image))[mask]
    ours = log_field_of(heads[contrast])[::2, ::2][mask]
    assert np.corrcoef(ours, theirs)[0, 1] > 0.95
    assert np.std(ours - theirs) < 0.07
    assert np.std(theirs) > 0.14
