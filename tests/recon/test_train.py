"""Training data: subjects held out whole, batches exact and dependent on their seed alone."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from lfmri_node.recon.cascade import Cascade, CascadeConfig
from lfmri_node.recon.denoiser import DenoiserConfig
from lfmri_node.recon.errors import LabError
from lfmri_node.recon.evaluate.simulated import held_out_source
from lfmri_node.recon.lesion import ClassifierConfig
from lfmri_node.recon.train.data import (
    CLASSES,
    FOLDS,
    PHANTOM,
    REAL_LESIONS,
    SUBJECTS,
    ImageSource,
    Subject,
    load_subjects,
)
from lfmri_node.recon.train.domain import BATTERY
from lfmri_node.recon.train.images import ImageDraws
from lfmri_node.recon.train.loader import Draw, DrawnBatches, Draws, Pool, assemble, collate, cut, flip
from lfmri_node.recon.train.losses import LossWeights, total_loss
from lfmri_node.recon.train.samples import (
    COIL_COUNTS,
    combine,
    draw_mask,
    draw_scan,
    load_sample,
    save_sample,
)
from lfmri_node.recon.train.stand_in import write_stand_in
from lfmri_node.recon.types import LesionWeighting

TINY = CascadeConfig(
    n_stages=1,
    denoiser=DenoiserConfig(channels=(8, 8)),
    classifier=ClassifierConfig(channels=(8, 8), classes=tuple(CLASSES)),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stand-in")
    write_stand_in(folder)
    return folder


@pytest.fixture(scope="module")
def scans() -> list:
    coils = (
        np.random.default_rng(0).standard_normal((6, 32, 32, 2)).astype(np.float32).view(np.complex64)[..., 0]
    )
    source = ImageSource((), phantom_fraction=1.0)
    rng = np.random.default_rng(3)
    return [draw_scan(source, coils, rng, n_coils=4) for _ in range(3)]


def test_every_subject_is_held_out_once_and_never_on_both_sides():
    assert sorted(name for fold in FOLDS for name in fold.held_out) == sorted(SUBJECTS)
    for fold in FOLDS:
        assert not set(fold.trained) & set(fold.held_out)
        assert set(fold.trained) - set(REAL_LESIONS), "a fold without images that can serve as negatives"


@pytest.mark.parametrize("fold", FOLDS, ids=lambda fold: f"fold-{fold.index}")
def test_training_draws_no_held_out_subject_and_evaluation_no_trained_one(fold, data, tmp_path):
    pool = Pool(data, tmp_path, fold, 9)
    drawn = {pool[i].subject for i in range(9)}
    assert drawn <= {PHANTOM, *fold.trained}
    source = held_out_source(data, fold, 6, 0, 4.0)
    judged = {source.load(sample).subject for sample in source.samples}
    assert judged <= set(fold.held_out)
    assert not judged & set(REAL_LESIONS)  # their labels would not be known
    searched = {case.subject for case in source.search()}
    assert searched <= set(fold.trained)


def test_the_images_of_a_fold_share_no_array_with_the_held_out_ones(data):
    for fold in FOLDS:
        trained = {image.tobytes() for s in load_subjects(data, fold.trained) for image in s.images}
        judged = {image.tobytes() for s in load_subjects(data, fold.held_out) for image in s.images}
        assert not trained & judged


def test_a_subject_with_a_real_lesion_is_never_a_negative():
    image = np.pad(np.ones((40, 40), np.float32), 20)
    source = ImageSource((Subject(name="a", images=(image,), has_lesion=True),), phantom_fraction=0.0)
    rng = np.random.default_rng(0)
    assert all(source.draw_labelled(rng).label for _ in range(20))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("acceleration", "n_centre"), [(4.0, 12), (4.0, 26), (8.0, 8), (8.0, 13)])
def test_masks_hold_a_contiguous_centre_and_the_acceleration(seed, acceleration, n_centre):
    lines = draw_mask(np.random.default_rng(seed), n_centre, acceleration)
    assert lines.size / lines.sum() == pytest.approx(acceleration, rel=0.06)
    start = lines.size // 2 - n_centre // 2
    assert lines[start : start + n_centre].all()


def test_the_place_of_a_lesion_never_reaches_a_batch_or_a_loss(scans):
    sample = next(s for s in map(combine, scans) if s.label)
    elsewhere = dataclasses.replace(sample, lesion=np.roll(sample.lesion, 40, axis=0))
    weights = LossWeights(lesion=1.0, classification=0.1)
    torch.manual_seed(0)
    model = Cascade(TINY).eval()

    def losses(one) -> dict[str, float]:
        batch = assemble([one], [one.sampled])
        outputs = model(batch.measurement.adjoint, batch.measurement.operator, LesionWeighting.FOCUSED)
        return {name: value.item() for name, value in total_loss(outputs, batch, weights).items()}

    assert losses(sample) == losses(elsewhere)
    assert not any(
        "lesion" in f.name or "box" in f.name
        for f in dataclasses.fields(assemble([sample], [sample.sampled]))
    )


def test_loss_weights_are_proportional_and_zero_turns_off(scans):
    sample = combine(scans[0])
    batch = assemble([sample], [sample.sampled])
    model = Cascade(TINY).eval()
    outputs = model(batch.measurement.adjoint, batch.measurement.operator, LesionWeighting.FOCUSED)
    off = total_loss(outputs, batch, LossWeights())
    one = total_loss(outputs, batch, LossWeights(lesion=1.0, classification=0.1))
    two = total_loss(outputs, batch, LossWeights(lesion=2.0, classification=0.2))
    assert off["lesion"] == off["classification"] == 0
    for name in ("lesion", "classification"):
        assert two[name].item() == pytest.approx(2 * one[name].item(), rel=1e-5)
    assert one["loss"].item() == pytest.approx(
        sum(one[name].item() for name in ("image", "lesion", "classification")), rel=1e-5
    )


def test_only_the_last_stage_counts_where_the_others_weigh_nothing(scans):
    sample = combine(scans[0])
    batch = assemble([sample], [sample.sampled])
    model = Cascade(dataclasses.replace(TINY, n_stages=3)).eval()
    outputs = model(batch.measurement.adjoint, batch.measurement.operator, LesionWeighting.OFF)
    alone = total_loss(outputs[-1:], batch, LossWeights(stages=0.0))
    assert total_loss(outputs, batch, LossWeights(stages=0.0))["loss"] == alone["loss"]


@pytest.mark.parametrize("rows", [slice(0, 64), slice(37, 101)])
def test_a_strip_is_the_measurement_of_the_strip(scans, rows):
    """A^H Y of the strip equals the strip of A^H Y: line sampling leaves the rows independent."""
    sample = combine(scans[0])
    whole = assemble([sample], [sample.sampled])
    strip = cut(whole, rows)
    torch.testing.assert_close(
        strip.measurement.adjoint, whole.measurement.adjoint[:, rows], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        strip.measurement.operator.gram(strip.target),
        whole.measurement.operator.gram(whole.target)[:, rows],
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("axes", [(-1,), (-2,), (-2, -1)])
@pytest.mark.parametrize("rows", [64, 63])
def test_a_flip_is_the_measurement_of_the_flipped_image(scans, axes, rows):
    sample = combine(scans[0])
    plain = cut(assemble([sample], [sample.sampled]), slice(0, rows))
    turned = flip(plain, axes)
    again = flip(turned, axes)
    torch.testing.assert_close(again.measurement.adjoint, plain.measurement.adjoint, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        turned.measurement.operator.gram(turned.target),
        flip(dataclasses.replace(plain, target=plain.measurement.operator.gram(plain.target)), axes).target,
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_batch_depends_on_its_seed_alone(scans):
    samples = [combine(scan) for scan in scans[:2]]
    one, same, other = (collate(samples, seed, n_rows=48) for seed in ((1, 0, 2), (1, 0, 2), (1, 0, 3)))
    assert torch.equal(one.measurement.kspace, same.measurement.kspace)
    assert not torch.equal(one.measurement.sampled, other.measurement.sampled)
    assert one.target.shape == (2, 48, 160)


def test_samples_of_another_simulation_are_not_trained_on(data, tmp_path):
    pool = Pool(data, tmp_path, FOLDS[0], 2)
    sample = pool[0]
    assert np.array_equal(Pool(data, tmp_path, FOLDS[0], 2)[0].kspace, sample.kspace)
    (tmp_path / "00000.npz").unlink()
    save_sample(dataclasses.replace(sample, kspace=1.1 * sample.kspace), tmp_path / "00000.npz")
    with pytest.raises(LabError) as caught:
        Pool(data, tmp_path, FOLDS[0], 2)
    assert caught.value.code == "LF-LAB-010"


def test_a_sample_survives_the_disk(scans, tmp_path):
    sample = combine(scans[1])
    save_sample(sample, tmp_path / "00000.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["00000.npz"]
    restored = load_sample(tmp_path / "00000.npz")
    for field in dataclasses.fields(sample):
        before, after = getattr(sample, field.name), getattr(restored, field.name)
        if isinstance(before, np.ndarray):
            np.testing.assert_array_equal(after, before)
        elif field.name == "coarse":
            np.testing.assert_array_equal(after.maps, before.maps)
        else:
            assert after == before


def test_a_pool_makes_a_sample_once_and_answers_the_same_after(data, tmp_path):
    pool = Pool(data, tmp_path, FOLDS[0], 3)
    first = pool[1]
    written = (tmp_path / "00001.npz").stat().st_mtime_ns
    again = Pool(data, tmp_path, FOLDS[0], 3)[1]
    np.testing.assert_array_equal(first.kspace, again.kspace)
    assert (tmp_path / "00001.npz").stat().st_mtime_ns == written
    assert first.kspace.shape[0] == COIL_COUNTS[1]


def test_ranks_share_the_steps_and_a_later_start_draws_the_same(data, tmp_path):
    def drawn(rank: int, n_ranks: int, steps: range) -> list[list[Draw]]:
        return list(Draws(12, 2, 0, steps, 4, rank=rank, n_ranks=n_ranks))

    alone, first, second = (drawn(*ranks, range(4)) for ranks in ((0, 1), (0, 2), (1, 2)))
    assert [first[0], second[0], first[1], second[1]] == alone
    assert drawn(0, 1, range(4, 8)) != alone
    assert drawn(0, 1, range(8))[3:] == drawn(0, 1, range(3, 8))
    assert all(len({draw.index % len(COIL_COUNTS) for draw in batch}) == 1 for batch in alone)
    batch = DrawnBatches(Pool(data, tmp_path, FOLDS[1], 12), 32)[alone[0]]
    assert batch.target.shape == (2, 32, 160)


def test_the_curriculum_eases_to_the_real_lesions():
    eases = [draw.ease for draw in ImageDraws(4, 0, 60, 1.0, range(100), 10)]
    assert eases[0] == 1.0
    assert eases == sorted(eases, reverse=True)
    assert all(ease == 0.0 for ease in eases[60:])



def test_every_measurement_of_the_battery_differs_from_its_scan(scans):
    for change in BATTERY:
        kspace = change(scans[0], np.random.default_rng(0))
        assert kspace.data.shape == scans[0].kspace.data.shape
        assert not np.allclose(kspace.data, scans[0].kspace.data), change.__name__
