"""Which turned image another reconstruction shows: what counts as evidence, and what never does."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

from lfmri_node.recon.likeness import MIN_STANDARD_ERRORS, compare
from lfmri_node.recon.mrd.orientation import distinguishable, turned
from lfmri_node.recon.sense.fourier import ifft_axis

SPACING = (1.2, 1.2)


def texture(seed: int, n_slices: int = 2, n: int = 96) -> np.ndarray:
    """Positive blobs in the middle of the field of view."""
    field = gaussian_filter(np.random.default_rng(seed).standard_normal((n_slices, n, n)), (0, 3, 3))
    y, x = np.mgrid[-1 : 1 : 1j * n, -1 : 1 : 1j * n]
    return np.asarray(np.abs(field / field.std()) * np.exp(-((x**2 + y**2) ** 3) * 8), dtype=np.float32)


def candidates(volume: np.ndarray) -> list[np.ndarray]:
    conventions = distinguishable(three_dimensional=False)
    return [turned(volume, (False, *one.reversed_axes[:2])).astype(np.float32) for one in conventions]


def noisy(volume: np.ndarray, rng: np.random.Generator, level: float = 0.05) -> np.ndarray:
    noise = level * volume.max() * rng.standard_normal((2, *volume.shape))
    return np.hypot(volume + noise[0], noise[1]).astype(np.float32)


def test_the_same_image_is_proven_whatever_its_scale_and_displacement() -> None:
    images = candidates(texture(0))
    for right, image in enumerate(images):
        found = compare(images, 7.0 * np.roll(image, (2, -1), (1, 2)), SPACING)
        assert (found.best, found.decided) == (right, True)
        assert found.scores[right] == pytest.approx(1.0, abs=1e-5)
        assert found.displacement_mm == pytest.approx((2.4, -1.2))
        assert all(rival.evidence > 0.99 for rival in found.rivals)


def test_inverted_contrast_is_proven_and_what_is_not_shown_does_not_count() -> None:
    images = candidates(texture(1))
    reference = images[2].max() - images[2]
    reference[:, :20] = np.nan
    found = compare(images, reference.astype(np.float32), SPACING)
    assert (found.best, found.decided) == (2, True)


def test_symmetric_object_is_never_decided_by_noise_or_by_shading() -> None:
    """200 trials; noise alone stays within what its standard error allows."""
    half = texture(2, n_slices=1)
    symmetric = sum(candidates(half)) / 4
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    largest = []
    for trial in range(50):
        rng = np.random.default_rng(trial)
        plain = compare(candidates(noisy(symmetric, rng)), noisy(symmetric, rng), SPACING)
        shaded = compare(
            candidates(noisy(symmetric * (1 + 0.4 * x + 0.2 * y), rng)),
            noisy(symmetric * (1 + 0.3 * x - 0.2 * y), rng),
            SPACING,
        )
        assert not plain.decided
        assert not shaded.decided
        largest.append(max(abs(rival.standard_errors) for rival in plain.rivals))
    assert max(largest) < MIN_STANDARD_ERRORS


def test_standard_error_is_that_of_unrelated_images() -> None:
    """Evidence between images that have nothing in common scatters by about one standard error."""
    images = candidates(texture(3))
    found = [compare(images, texture(100 + trial), SPACING) for trial in range(40)]
    assert not any(one.decided for one in found)
    errors = [rival.standard_errors for one in found for rival in one.rivals]
    assert 0.5 < np.sqrt(np.mean(np.square(errors))) < 3.0  # the best of several is chosen, so above 1


def test_nothing_to_compare_is_an_error_and_empty_images_prove_nothing() -> None:
    images = candidates(texture(4))
    with pytest.raises(ValueError, match="too little"):
        compare(images, np.full_like(images[0], np.nan), SPACING)
    found = compare([np.zeros_like(image) for image in images], images[0], SPACING)
    assert not found.decided


def test_measured_head_in_another_contrast_and_matrix(shared_data) -> None:
    """3 against 19 degrees of flip angle: two measurements of one head, one of them interpolated and back."""
    with np.load(shared_data("raw_brain_13ch.npz")) as arrays:
        kspace = arrays["kspace"]
    coils = ifft_axis(ifft_axis(kspace, -1), -2)
    low, high = np.sqrt((np.abs(coils) ** 2).sum(axis=1, keepdims=True))
    other = zoom(zoom(high[0], 1.5, order=1), 1 / 1.5, order=1)[None]
    images = candidates(low)
    for right, reference in enumerate(candidates(other)):
        found = compare(images, reference, (1.0, 1.0))
        assert (found.best, found.decided) == (right, True)
