"""Phantom, lesions and simulated measurement: reproducible, and what they claim to be."""

import numpy as np
import pytest

from lfmri_node.recon.phantom.body import LESION_KINDS, insert_lesion, phantom_volume
from lfmri_node.recon.phantom.coils import (
    line_errors,
    loop_coils,
    measure,
    noise_factor,
    object_phase,
    tissue_phase,
)
from lfmri_node.recon.sense.fourier import ifft_axis

SHAPE = (64, 60)


@pytest.fixture
def image() -> np.ndarray:
    return phantom_volume(1, SHAPE, np.random.default_rng(4))[0]


def test_a_seed_gives_one_phantom():
    one, two = (phantom_volume(3, SHAPE, np.random.default_rng(1)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, phantom_volume(3, SHAPE, np.random.default_rng(2)))
    assert one.shape == (3, *SHAPE)
    assert one.min() >= 0
    assert one.max() == pytest.approx(1.0)


def test_bright_tissue_is_turned_against_the_rest_in_most_images():
    image = np.zeros((64, 64), np.float32)
    image[:, :32], image[:, 32:] = 0.1, 1.0
    turned = []
    for seed in range(40):
        phase = tissue_phase(image, np.random.default_rng(seed))
        np.testing.assert_allclose(np.abs(phase), 1.0, rtol=1e-5)
        plain = object_phase((64, 64), np.random.default_rng(seed))
        dark, bright = ((phase * plain.conj())[:, side].mean() for side in (slice(4, 28), slice(36, 60)))
        turned.append(abs(np.angle(bright * dark.conj())) > 0.3)
    assert 0.4 < np.mean(turned) < 0.9


@pytest.mark.parametrize("kind", LESION_KINDS)
def test_a_lesion_changes_the_image_inside_its_mask_only(image, kind):
    edited, lesion = insert_lesion(image, kind, np.random.default_rng(0))
    assert lesion is not None
    change = edited - image
    inside = change[lesion.mask].mean()
    assert inside < -0.05 if kind == "dark" else inside > 0.05
    row, column = lesion.centre
    assert lesion.mask[row, column]
    rows, columns = np.indices(SHAPE)
    far = np.hypot(rows - row, columns - column) > 4 * max(lesion.radii) + 12
    assert np.abs(change[far]).max() < 0.01


def test_a_sham_insertion_changes_nothing(image):
    edited, lesion = insert_lesion(image, "bright", np.random.default_rng(0), contrast=0.0)
    assert lesion is not None
    np.testing.assert_allclose(edited, image, atol=1e-6)


def test_an_empty_image_has_no_place_for_a_lesion():
    edited, lesion = insert_lesion(np.zeros(SHAPE, np.float32), "bright", np.random.default_rng(0))
    assert lesion is None
    assert not edited.any()


def test_coil_maps_have_unit_sum_of_squares():
    maps = loop_coils(5, SHAPE, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(maps, axis=0), 1.0, atol=1e-5)


def test_a_noise_free_full_measurement_is_the_image(image):
    rng = np.random.default_rng(0)
    maps, signal = loop_coils(4, SHAPE, rng), image * object_phase(SHAPE, rng)
    kspace = measure(signal.astype(np.complex64), maps, np.ones(SHAPE[1], bool), 0.0, rng)
    coils = ifft_axis(ifft_axis(kspace.data, -1), -2)
    np.testing.assert_allclose((maps.conj() * coils).sum(0), signal, atol=1e-5)


def test_noise_has_the_covariance_that_was_asked_for():
    rng = np.random.default_rng(0)
    factor = noise_factor(4, rng)
    zero = np.zeros((128, 128), np.complex64)
    kspace = measure(zero, np.ones((4, 128, 128), np.complex64), np.ones(128, bool), 0.5, rng, factor=factor)
    covariance = np.cov(kspace.data.reshape(4, -1))
    np.testing.assert_allclose(covariance, 0.25 * factor @ factor.conj().T, atol=0.01)


class TestLineErrors:
    """What a real measurement does beyond noise: one factor for each phase-encode line."""

    DRAWN = tuple(line_errors(96, np.random.default_rng(seed)) for seed in range(200))

    def test_a_seed_gives_one_and_three_of_ten_have_none(self):
        np.testing.assert_array_equal(self.DRAWN[4], line_errors(96, np.random.default_rng(4)))
        none = np.mean([np.all(factor == 1) for factor in self.DRAWN])
        assert none == pytest.approx(0.3, abs=0.1)

    def test_are_small(self):
        """Magnitudes near one on average; nowhere less than the decay of a train, or more."""
        for factor in self.DRAWN:
            assert factor.shape == (96,)
            assert factor.dtype == np.complex64
            assert np.abs(factor).mean() == pytest.approx(1.0, abs=1e-4)
            assert 0.7 < np.abs(factor).min() <= np.abs(factor).max() < 1.3
        turns = [np.abs(np.angle(factor[32:64])).max() for factor in self.DRAWN]
        assert np.median(turns) < 0.5

    def test_no_set_of_coil_maps_takes_them_up(self, image):
        """One coil, all lines: the image differs from the object, the more the stronger the errors."""
        maps, lines = np.ones((1, *SHAPE), np.complex64), np.ones(SHAPE[1], bool)
        drawn = (line_errors(SHAPE[1], np.random.default_rng(seed)) for seed in range(20))
        factor = next(one for one in drawn if one.std() > 0.05)
        changes = []
        for power in (0.0, 1.0, 2.0):
            given = np.exp(power * np.log(factor)).astype(np.complex64)
            rng = np.random.default_rng(0)
            kspace = measure(image.astype(np.complex64), maps, lines, 0.0, rng, line_factor=given)
            measured = ifft_axis(ifft_axis(kspace.data, -1), -2)[0]
            changes.append(np.linalg.norm(measured - image) / np.linalg.norm(image))
        assert changes[0] < 1e-5
        assert changes[0] < changes[1] < changes[2] < 1.0

    def test_act_on_the_signal_and_leave_the_noise_as_it_is(self, image):
        factor = np.full(SHAPE[1], 0.5j, np.complex64)
        maps, lines = np.ones((2, *SHAPE), np.complex64), np.ones(SHAPE[1], bool)
        signal = image.astype(np.complex64)

        def data(noise: float, factor: np.ndarray | None) -> np.ndarray:
            return measure(signal, maps, lines, noise, np.random.default_rng(0), line_factor=factor).data

        noise = data(0.1, None) - data(0.0, None)
        np.testing.assert_allclose(data(0.0, factor), 0.5j * data(0.0, None), atol=1e-6)
        np.testing.assert_allclose(data(0.1, factor), 0.5j * data(0.0, None) + noise, atol=1e-5)


def test_large_loops_on_half_a_ring_condition_the_problem_badly():
    """The arc and the size of the loops are drawn: some arrays tell their coils apart worse than others."""
    spreads = []
    for seed in range(40):
        maps = loop_coils(6, (32, 32), np.random.default_rng(seed)).reshape(6, -1)
        singular = np.linalg.svd(maps, compute_uv=False)
        spreads.append(singular[0] / singular[-1])
    assert max(spreads) > 3 * min(spreads)
