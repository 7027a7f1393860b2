"""Batches: one shape, dependent on their seed alone; pools of one simulation; maps in Net_c's place."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.data import ImageSource, class_labels
from lfmri_node.recon.train.examples import Simulated
from lfmri_node.recon.train.loader import (
    BLOBS,
    N_SHAPES,
    OUTLINES,
    Batch,
    Draw,
    DrawnBatches,
    Draws,
    Pool,
    blob,
    blurred,
    collate,
)
from lfmri_node.recon.train.samples import COIL_COUNTS, SIZES, draw_sample, load_sample, save_sample

SMALL = (48, 64)


@pytest.fixture(scope="module")
def samples() -> list[Simulated]:
    """Three phantoms seen by four coils."""
    rng = np.random.default_rng(3)
    coils, source = loop_coils(8, (32, 32), rng), ImageSource()
    return [Simulated(sample=draw_sample(source, coils, rng, 4, 64), noisy=True) for _ in range(3)]


@pytest.fixture(scope="module")
def with_lesion(samples) -> Simulated:
    lesion = np.zeros((64, 64), dtype=bool)
    lesion[20:30, 24:36] = True
    placed = dataclasses.replace(samples[0].sample, lesion=lesion, label=True, lesion_kind="bright")
    return Simulated(sample=placed, noisy=True)


def tensors(batch: Batch) -> Iterator[Tensor]:
    """Everything that a batch holds."""
    m = batch.measurement
    yield from (batch.target, batch.labels, batch.counted, batch.full)
    yield from (m.kspace, m.sampled, m.adjoint, m.operator.maps, m.operator.mask, *m.scale)
    if m.guide is not None:
        yield m.guide


class TestDraws:
    @pytest.mark.parametrize("batch", [1, 2, 5])
    @pytest.mark.parametrize("n", [3, 40, 250, 1000])
    def test_all_of_a_batch_have_one_number_of_coils_and_one_size(self, batch, n):
        for draws in Draws(n, batch, 0, range(60), 10):
            assert len(draws) == batch
            assert all(0 <= draw.index < n for draw in draws)
            shapes = {(COIL_COUNTS[d.index % len(COIL_COUNTS)], SIZES[d.index % len(SIZES)]) for d in draws}
            assert len(shapes) == 1

    def test_every_combination_is_met(self):
        drawn = {draw.index % N_SHAPES for draws in Draws(4000, 1, 0, range(2000), 250) for draw in draws}
        assert len(drawn) == N_SHAPES

    def test_ranks_share_the_steps_and_a_later_start_draws_the_same(self):
        def drawn(rank: int, n_ranks: int, steps: range) -> list[list[Draw]]:
            return list(Draws(12, 2, 0, steps, 4, rank=rank, n_ranks=n_ranks))

        alone, first, second = (drawn(*ranks, range(4)) for ranks in ((0, 1), (0, 2), (1, 2)))
        assert [first[0], second[0], first[1], second[1]] == alone
        assert drawn(0, 1, range(4, 8)) != alone
        assert drawn(0, 1, range(8))[3:] == drawn(0, 1, range(3, 8))

    def test_another_seed_draws_another_order(self):
        one, other = (list(Draws(500, 2, seed, range(6), 4)) for seed in (0, 1))
        assert one != other
        assert (
            len(Draws(500, 2, 0, range(3, 9), 4)) == 9
        )  # Lightning counts the steps before the start as done


class TestBatch:
    def test_depends_on_its_seed_alone(self, samples):
        one, same, other = (
            collate(samples[:2], seed, n_rows=24) for seed in ((1, 0, 2), (1, 0, 2), (1, 0, 3))
        )
        for left, right in zip(tensors(one), tensors(same), strict=True):
            assert torch.equal(left, right)
        assert not torch.equal(one.measurement.kspace, other.measurement.kspace)

    def test_is_a_measurement_of_its_maps_and_lines(self, samples):
        batch = collate(samples[:2], (0, 1), n_rows=24)
        m = batch.measurement
        assert batch.target.shape == (2, 24, 64)
        assert batch.full.shape == m.kspace.shape == (2, 4, 24, 64)
        torch.testing.assert_close(m.kspace, m.operator.mask * batch.full)
        torch.testing.assert_close(m.adjoint, m.operator.adjoint(batch.full), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(m.scale.energy, m.kspace.abs().square().sum((1, 2, 3)))
        assert torch.equal(m.scale.level, torch.ones(2))
        noise = [s.sample.noise_std for s in samples[:2]]
        np.testing.assert_allclose(m.scale.noise.numpy(), noise, rtol=0.25)

    def test_labels_are_those_of_the_image_and_count_where_the_place_is_known(self, with_lesion):
        unplaced = dataclasses.replace(
            with_lesion.sample, lesion=np.zeros((64, 64), dtype=bool), lesion_kind=""
        )
        batch = collate([with_lesion, Simulated(sample=unplaced, noisy=True)], (0, 1), n_rows=16)
        assert batch.labels.tolist() == [class_labels("bright"), class_labels("")]
        assert batch.counted.tolist() == [[1.0], [0.0]]

    def test_some_are_sampled_at_points_and_then_whole(self, samples):
        kinds = [collate(samples[:1], (0, i), n_rows=16) for i in range(60)]
        points = [batch for batch in kinds if batch.measurement.sampled.ndim == 3]
        assert 1 <= len(points) <= 18
        assert all(batch.target.shape == (1, 64, 64) for batch in points)
        lines = [batch for batch in kinds if batch.measurement.sampled.ndim == 2]
        assert all(batch.target.shape == (1, 16, 64) for batch in lines)

    def test_moves_to_another_device_whole(self, with_lesion):
        seed = next(i for i in range(40) if collate([with_lesion], (0, i)).measurement.guide is not None)
        batch = collate([with_lesion], (0, seed))
        moved = batch.to(torch.device("meta"))
        assert len(list(tensors(moved))) == len(list(tensors(batch)))
        for before, after in zip(tensors(batch), tensors(moved), strict=True):
            assert after.is_meta
            assert after.shape == before.shape
        again = batch.to(torch.device("cpu"))
        for before, after in zip(tensors(batch), tensors(again), strict=True):
            assert torch.equal(before, after)


class TestGuide:
    def test_takes_the_place_of_net_cs_map_in_the_stated_share(self, with_lesion):
        guides = [collate([with_lesion], (1, i), n_rows=8).measurement.guide for i in range(200)]
        given = [guide for guide in guides if guide is not None]
        assert len(given) / 200 == pytest.approx(OUTLINES + BLOBS, abs=0.1)
        assert all(guide.dtype == torch.float32 and guide.shape[:2] == (1, 1) for guide in given)
        assert all(guide.min() >= 0 and guide.max() <= 1 for guide in given)

    def test_never_a_zero_map_where_the_strip_holds_no_lesion(self, samples):
        nothing = dataclasses.replace(samples[0].sample, lesion=np.zeros((64, 64), dtype=bool))
        healthy = Simulated(sample=nothing, noisy=True)
        guides = [collate([healthy], (1, i)).measurement.guide for i in range(60)]
        given = [guide for guide in guides if guide is not None]
        assert len(given) > 20
        assert sum(bool((guide > 0.2).any()) for guide in given) >= len(given) - 3  # a blob at the edge

    @pytest.mark.parametrize("seed", range(10))
    def test_an_outline_is_blurred_where_it_is_and_nothing_gives_nothing(self, seed):
        mask = np.zeros((50, 60), dtype=bool)
        mask[20:30, 30:42] = True
        soft = blurred(mask, np.random.default_rng(seed))
        assert soft.dtype == np.float32
        assert 0 <= soft.min() <= soft.max() <= 1
        assert soft[24:26, 34:38].min() > 0.4
        assert soft[:8].max() < 0.01
        assert not blurred(np.zeros_like(mask), np.random.default_rng(seed)).any()

    def test_a_blob_lies_anywhere_and_has_the_size_of_a_lesion(self):
        blobs = [blob((80, 90), np.random.default_rng(seed)) for seed in range(60)]
        assert all(b.dtype == np.float32 and 0 <= b.min() <= b.max() <= 1 for b in blobs)
        areas = [(b > 0.5 * b.max()).sum() for b in blobs]
        assert max(areas) <= np.pi * 15.5**2
        places = [np.unravel_index(b.argmax(), b.shape) for b in blobs]
        assert np.std(places, axis=0).min() > 15


class TestPool:
    def test_makes_a_sample_once_and_answers_the_same_after(self, stand_in, tmp_path):
        first = Pool(stand_in, tmp_path, 3, sizes=SMALL)[1].sample
        written = (tmp_path / "00001.npz").stat().st_mtime_ns
        again = Pool(stand_in, tmp_path, 3, sizes=SMALL)[1].sample
        np.testing.assert_array_equal(first.image, again.image)
        assert (tmp_path / "00001.npz").stat().st_mtime_ns == written
        assert (first.n_coils, first.image.shape) == (COIL_COUNTS[1], (64, 64))

    def test_another_folder_gets_the_same_samples(self, stand_in, tmp_path):
        one, other = (Pool(stand_in, tmp_path / name, 2, sizes=SMALL)[0].sample for name in "ab")
        np.testing.assert_array_equal(one.image, other.image)
        np.testing.assert_array_equal(one.coarse.maps, other.coarse.maps)

    @pytest.mark.parametrize("changed", ["image", "other version"])
    def test_samples_of_another_simulation_are_not_trained_on(self, stand_in, tmp_path, changed):
        """Each sample lies in a file: the first tells of what simulation all are."""
        sample = Pool(stand_in, tmp_path, 2, sizes=SMALL)[0].sample
        path: Path = tmp_path / "00000.npz"
        assert np.array_equal(load_sample(path).image, sample.image)
        turned = 1.1 * sample.image if changed == "image" else np.roll(sample.image, 1, axis=0)
        path.unlink()
        save_sample(dataclasses.replace(sample, image=turned), path)
        with pytest.raises(LabError) as caught:
            Pool(stand_in, tmp_path, 2, sizes=SMALL)
        assert caught.value.code == "LF-LAB-010"

    @pytest.mark.parametrize("batch", [1, 3])
    def test_gives_batches_of_one_shape(self, stand_in, tmp_path, batch):
        pool = Pool(stand_in, tmp_path, 2 * N_SHAPES, sizes=SMALL)
        assert len(pool) == 2 * N_SHAPES
        draws = next(iter(Draws(len(pool), batch, 0, range(1), 4)))
        drawn = DrawnBatches(pool, 16)[draws]
        assert len(drawn) == batch
        assert drawn.full.shape[0] == drawn.target.shape[0] == batch
