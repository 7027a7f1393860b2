"""One entry of a batch: cutting and flipping are exact, the truth and the noise are what they claim to be."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, normalise_maps
from lfmri_node.recon.sense.coilmaps import resample
from lfmri_node.recon.sense.fourier import ifft_axis
from lfmri_node.recon.sense.operators import SenseOp
from lfmri_node.recon.train.data import ImageSource
from lfmri_node.recon.train.examples import LESION_CENTRED, Example, Measured, Simulated, strip
from lfmri_node.recon.train.loader import flip
from lfmri_node.recon.train.samples import Sample, draw_sample, estimated_maps, load_sample, save_sample

SIZE = 64


@pytest.fixture(scope="module")
def sample() -> Sample:
    """A phantom with a lesion, disturbed lines, and noise."""
    rng = np.random.default_rng(2)
    coils = loop_coils(8, (48, 48), rng)
    source = ImageSource()
    drawn = (draw_sample(source, coils, rng, 5, SIZE) for _ in range(40))
    return next(s for s in drawn if s.lesion.any() and not np.all(s.line_factor == 1))


def quiet(sample: Sample) -> Sample:
    return dataclasses.replace(sample, noise_std=0.0)


def made(sample: Sample, seed: int, n_rows: int | None = None, *, noisy=True, points=False) -> Example:
    return Simulated(sample=sample, noisy=noisy).example(np.random.default_rng(seed), n_rows, points=points)


def hybrid(full: np.ndarray) -> np.ndarray:
    """Image rows, phase-encode columns of k-space."""
    return ifft_axis(full, -2)


class TestSimulated:
    def test_a_whole_slice_is_what_simulate_measures(self, sample):
        maps = normalise_maps(resample(sample.true_maps, (SIZE, SIZE), periodic=False))
        lines, rng = np.ones(SIZE, dtype=bool), np.random.default_rng(0)
        oracle = measure(sample.image, maps, lines, 0.0, rng, line_factor=sample.line_factor)
        np.testing.assert_allclose(made(quiet(sample), 0).full, oracle.data, atol=2e-4)

    @pytest.mark.parametrize("seed", range(4))
    @pytest.mark.parametrize("n_rows", [16, 24])
    def test_a_strip_is_the_same_rows_of_the_whole_measurement(self, sample, seed, n_rows):
        rows = strip(np.random.default_rng(seed), sample.lesion, n_rows)
        whole, cut = made(quiet(sample), 9), made(quiet(sample), seed, n_rows)
        assert cut.full.shape == (5, n_rows, SIZE)
        np.testing.assert_allclose(hybrid(cut.full), hybrid(whole.full)[:, rows], atol=2e-4)
        np.testing.assert_allclose(cut.target, whole.target[rows], atol=2e-4)
        np.testing.assert_array_equal(cut.maps, whole.maps[:, rows])
        np.testing.assert_array_equal(cut.lesion, whole.lesion[rows])
        assert (cut.noise, cut.level, cut.label, cut.lesion_kind) == (0.0, 1.0, True, whole.lesion_kind)

    def test_the_operator_of_a_strip_is_that_of_the_slice(self, sample):
        """A^H Y of the strip equals the strip of A^H Y: line sampling leaves the rows independent."""
        rows = strip(np.random.default_rng(1), sample.lesion, 20)
        whole, cut = made(quiet(sample), 9), made(quiet(sample), 1, 20)
        lines = torch.from_numpy(cut.sampled)[None]
        adjoints = [
            SenseOp(torch.from_numpy(e.maps)[None], lines).adjoint(torch.from_numpy(e.full)[None])[0]
            for e in (whole, cut)
        ]
        torch.testing.assert_close(adjoints[0][rows], adjoints[1], rtol=1e-4, atol=1e-4)

    def test_a_noisy_truth_is_the_fully_sampled_image_combined_with_the_estimated_maps(self, sample):
        example = made(sample, 3)
        images = ifft_axis(ifft_axis(example.full, -1), -2)
        np.testing.assert_allclose(example.maps, estimated_maps(sample))
        np.testing.assert_allclose(example.target, (example.maps.conj() * images).sum(0), atol=2e-4)

    def test_a_noise_free_truth_differs_by_the_noise_alone(self, sample):
        noisy, clean, silent = made(sample, 3), made(sample, 3, noisy=False), made(quiet(sample), 3)
        np.testing.assert_array_equal(noisy.full, clean.full)
        np.testing.assert_allclose(clean.target, silent.target, atol=2e-4)
        inside = np.abs(clean.target) > 0.1
        spread = np.std((noisy.target - clean.target)[inside])
        assert spread == pytest.approx(sample.noise_std, rel=0.35)

    @pytest.mark.parametrize("n_rows", [None, 16])
    def test_the_noise_figure_is_the_standard_deviation_where_nothing_is(self, sample, n_rows):
        air = dataclasses.replace(sample, image=np.zeros_like(sample.image))
        draws = [made(air, seed, n_rows) for seed in range(6)]
        found = np.sqrt(np.mean([np.mean(np.abs(e.full) ** 2) for e in draws]))
        assert draws[0].noise == pytest.approx(found, rel=0.03)

    def test_every_draw_has_other_lines_and_other_noise_but_the_same_slice(self, sample):
        one, same, other = made(sample, 5), made(sample, 5), made(sample, 6)
        np.testing.assert_array_equal(one.full, same.full)
        np.testing.assert_array_equal(one.sampled, same.sampled)
        assert not np.array_equal(one.full, other.full)
        assert not np.array_equal(one.sampled, other.sampled)
        np.testing.assert_array_equal(one.maps, other.maps)

    def test_points_take_the_whole_slice(self, sample):
        example = made(sample, 0, 16, points=True)
        assert example.sampled.shape == example.target.shape == (SIZE, SIZE)
        centre = slice(SIZE // 2 - sample.n_centre // 2, SIZE // 2 + sample.n_centre // 2)
        assert example.sampled[centre, centre].all()

    def test_a_lesion_that_nobody_outlined_does_not_count_for_a_classifier(self, sample):
        unplaced = dataclasses.replace(sample, lesion=np.zeros_like(sample.lesion))
        assert unplaced.has_unplaced_lesion
        assert (made(sample, 0).counted, made(unplaced, 0).counted) == (True, False)


class TestStrip:
    @settings(deadline=None, max_examples=60)
    @given(
        seed=st.integers(0, 2**31), n=st.integers(16, 200), n_rows=st.integers(4, 220), at=st.floats(0, 0.999)
    )
    def test_lies_inside_the_slice_whatever_its_size(self, seed, n, n_rows, at):
        lesion = np.zeros((n, 8), dtype=bool)
        lesion[int(at * n), 3] = True
        rows = strip(np.random.default_rng(seed), lesion, n_rows)
        assert 0 <= rows.start < rows.stop <= n
        assert rows.stop - rows.start == min(n, n_rows)

    @pytest.mark.parametrize("row", [0, 30, 63])
    def test_holds_the_lesion_in_the_stated_share_and_by_chance(self, row):
        lesion = np.zeros((64, 20), dtype=bool)
        lesion[row, 4:9] = True
        rng = np.random.default_rng(0)
        strips = [strip(rng, lesion, 16) for _ in range(800)]
        by_chance = np.mean([start <= row < start + 16 for start in range(64 - 16 + 1)])
        expected = LESION_CENTRED + (1 - LESION_CENTRED) * by_chance
        assert np.mean([s.start <= row < s.stop for s in strips]) == pytest.approx(expected, abs=0.05)

    def test_without_a_lesion_every_place_is_as_likely(self):
        rng = np.random.default_rng(0)
        starts = [strip(rng, np.zeros((40, 9), dtype=bool), 30).start for _ in range(1100)]
        counts = np.bincount(starts, minlength=11)
        assert counts.size == 11
        assert counts.min() > 60


class TestFlip:
    @pytest.mark.parametrize("axes", [(), (-1,), (-2,), (-2, -1)])
    @pytest.mark.parametrize("shape", [(16, 14), (15, 13)])
    @pytest.mark.parametrize("points", [False, True])
    def test_commutes_with_the_measurement(self, axes, shape, points):
        """A of the flipped image, maps and mask equals the flipped data of A."""
        rng = np.random.default_rng(4)
        maps, target = (
            rng.standard_normal((*lead, *shape, 2)).astype(np.float32).view(np.complex64)[..., 0]
            for lead in ((3,), ())
        )
        sampled = rng.uniform(size=shape if points else shape[1]) < 0.5

        def measured(example: Example) -> np.ndarray:
            operator = SenseOp(torch.from_numpy(example.maps)[None], torch.from_numpy(example.sampled)[None])
            return operator(torch.from_numpy(example.target)[None])[0].numpy()

        plain = Example(
            full=np.zeros_like(maps),
            sampled=sampled,
            maps=maps,
            target=target,
            noise=0.1,
            level=1.0,
            label=True,
            lesion=np.abs(target) > 1,
            lesion_kind="bright",
            counted=True,
        )
        turned = flip(dataclasses.replace(plain, full=measured(plain)), axes)
        np.testing.assert_allclose(measured(turned), turned.full, atol=1e-5)
        np.testing.assert_array_equal(turned.lesion, np.abs(turned.target) > 1)
        again = flip(turned, axes)
        np.testing.assert_array_equal(again.target, target)
        np.testing.assert_array_equal(again.sampled, sampled)
        assert axes == () or not np.array_equal(turned.target, target)


class TestMeasured:
    @pytest.fixture(scope="class")
    def kspace(self) -> np.ndarray:
        rng = np.random.default_rng(1)
        image = phantom_volume(1, (72, 64), rng)[0].astype(np.complex64)
        maps = loop_coils(4, (72, 64), rng)
        return 40 * measure(image, maps, np.ones(64, dtype=bool), 0.03, rng).data

    def test_a_strip_is_the_same_rows_of_the_slice_and_of_its_truth(self, kspace):
        measured = Measured(kspace=kspace, n_centre=16, acceleration=3.0, mask=None, label=True)
        cut = measured.example(np.random.default_rng(7), 24, points=False)
        assert cut.full.shape == (4, 24, 64)
        whole = ifft_axis(kspace, -2)
        starts = [np.abs(hybrid(cut.full) - whole[:, i : i + 24]).max() for i in range(72 - 24 + 1)]
        first = int(np.argmin(starts))
        assert starts[first] < 5e-3
        images = ifft_axis(whole, -1)[:, first : first + 24]
        np.testing.assert_allclose(cut.target, (cut.maps.conj() * images).sum(0), atol=5e-3)

    def test_its_noise_and_its_level_are_found_in_the_data(self, kspace):
        measured = Measured(kspace=kspace, n_centre=16, acceleration=3.0, mask=None, label=False)
        example = measured.example(np.random.default_rng(0), None, points=True)
        assert example.sampled.shape == (64,)  # lines are the data's to say
        assert example.noise == pytest.approx(40 * 0.03, rel=0.3)
        assert example.level == pytest.approx(np.percentile(np.abs(example.target), 99.5), rel=1e-3)
        assert example.level == pytest.approx(40, rel=0.3)
        assert not example.counted

    def test_points_are_those_given_and_the_slice_stays_whole(self, kspace):
        mask = np.random.default_rng(0).uniform(size=(72, 64)) < 0.3
        mask[24:48, 20:44] = True
        measured = Measured(kspace=kspace, n_centre=24, acceleration=3.0, mask=mask, label=True)
        example = measured.example(np.random.default_rng(0), 24, points=False)
        assert example.target.shape == (72, 64)
        np.testing.assert_array_equal(example.sampled, mask)
        np.testing.assert_allclose(example.full, kspace, atol=5e-3)


def test_a_sample_survives_the_disk(sample, tmp_path):
    save_sample(sample, tmp_path / "00000.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["00000.npz"]
    restored = load_sample(tmp_path / "00000.npz")
    for field in dataclasses.fields(sample):
        before, after = getattr(sample, field.name), getattr(restored, field.name)
        if field.name == "coarse":
            np.testing.assert_array_equal(after.maps, before.maps)
            np.testing.assert_array_equal(after.eigenvalue, before.eigenvalue)
            assert after.side == before.side
        else:
            np.testing.assert_array_equal(after, before)
