"""Lesion-focused metrics, activation map figures and statistics against closed forms."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, permutation_test, rankdata, wilcoxon

from lfmri_node.recon.evaluate.detail import (
    LesionFacts,
    band_pass,
    body_of,
    contrast_kept,
    detail,
    lesion_facts,
    near_lesion,
)
from lfmri_node.recon.evaluate.lesion_metrics import (
    THRESHOLDS,
    WINDOW,
    Box,
    box_of,
    boxes_of,
    diagnosis_quality,
    lesion_quality,
    lf_psnr_of_outline,
    map_quality,
    slice_quality,
    usable_boxes,
)
from lfmri_node.recon.evaluate.statistics import (
    N_RESAMPLES,
    interval_by_subject,
    paired_difference,
    signed_rank_p,
    summarise,
)
from lfmri_node.recon.metrics import compare

SHAPE = (40, 50)
BOX = Box(10, 20, 22, 30)


def truth() -> np.ndarray:
    image = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    image[0, 0] = 4.0
    return image


def test_a_constant_error_inside_the_box_alone_is_seen_inside_the_box_alone():
    """PSNR over the image dilutes the error by the share of the box; LF-PSNR is 20 log10(peak / error)."""
    image = truth()
    image[10:22, 20:30] += 0.04
    found = lesion_quality(image, truth(), [BOX], peak=4.0)
    assert found.lf_psnr_db == pytest.approx(40.0, abs=1e-3)
    assert found.lf_psnr_crop_db == pytest.approx(20 * np.log10(truth()[10:22, 20:30].max() / 0.04), abs=1e-3)
    psnr, _, _ = slice_quality(image, truth(), 4.0)
    assert psnr == pytest.approx(40.0 + 10 * np.log10(40 * 50 / 120), abs=1e-3)


def test_an_error_outside_the_box_is_not_seen_inside():
    image = truth()
    image[30:, :] += 1.0
    found = lesion_quality(image, truth(), [BOX], peak=4.0)
    assert (found.lf_psnr_db, found.lf_ssim) == (float("inf"), pytest.approx(1.0))


def test_boxes_are_averaged_one_by_one():
    image = truth()
    image[10:22, 20:30] += 0.04
    other = Box(25, 5, 35, 15)
    image[25:35, 5:15] += 0.4
    found = lesion_quality(image, truth(), [BOX, other], peak=4.0)
    assert found.lf_psnr_db == pytest.approx((40.0 + 20.0) / 2, abs=1e-3)
    assert found.n_boxes == 2


def test_no_box_no_figure():
    assert lesion_quality(truth(), truth(), [], peak=4.0) is None


def test_quality_of_a_slice_is_that_of_a_volume_of_one():
    image = truth() + np.random.default_rng(1).normal(0, 0.1, SHAPE).astype(np.float32)
    volume = compare(image[None], truth()[None])
    assert slice_quality(image, truth(), 4.0) == pytest.approx((volume.psnr_db, volume.ssim, volume.nmse))


boxes = st.builds(Box, *(st.integers(-30, 70) for _ in range(4)))


@given(st.lists(boxes, max_size=6))
def test_usable_boxes_lie_inside_hold_the_window_and_what_was_visible(given_boxes):
    usable, n_dropped = usable_boxes(given_boxes, SHAPE)
    assert len(usable) + n_dropped == len(given_boxes)
    for box in usable:
        assert 0 <= box.top <= box.bottom - WINDOW
        assert 0 <= box.left <= box.right - WINDOW
        assert box.bottom <= SHAPE[0]
        assert box.right <= SHAPE[1]
    assert usable_boxes(usable, SHAPE) == (usable, 0)


@given(boxes)
def test_a_usable_box_covers_the_visible_part_and_an_invisible_box_is_dropped(box):
    canvas = np.zeros(SHAPE, dtype=bool)
    canvas[max(box.top, 0) : max(box.bottom, 0), max(box.left, 0) : max(box.right, 0)] = True
    usable, n_dropped = usable_boxes([box], SHAPE)
    assert n_dropped == int(not canvas.any())
    for kept in usable:
        canvas[kept.top : kept.bottom, kept.left : kept.right] = False
    assert not canvas.any()


def test_the_box_of_a_mask():
    mask = np.zeros(SHAPE, dtype=bool)
    assert box_of(mask) is None
    mask[5, 7] = mask[9, 11] = True
    assert box_of(mask) == Box(5, 7, 10, 12)


def test_each_part_of_a_mask_has_a_box_and_specks_have_none():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:4, 2:5] = mask[20:30, 30:40] = mask[12, 12] = True
    mask[30, 40] = True  # touches by a corner
    assert boxes_of(mask) == [Box(20, 30, 31, 41), Box(2, 2, 4, 5)]


def waves(period_px: float) -> np.ndarray:
    """A disc of radius 26 with stripes of one period on a level of 1."""
    rows, columns = np.indices((64, 64))
    inside = np.hypot(rows - 32, columns - 32) < 26
    return (inside * (1 + 0.2 * np.sin(2 * np.pi * columns / period_px))).astype(np.float32)


def test_the_detail_that_is_kept_is_that_of_its_periods():
    """Stripes of 8 px at half their height keep one half; stripes of 32 px are no detail."""
    body = body_of(waves(8))
    flat, fine, coarse = waves(1), waves(8), waves(32)  # a period of one pixel: no stripes
    found = detail(flat + 0.5 * (fine - flat), fine, body)
    assert found.kept == pytest.approx(0.5, abs=0.02)
    assert found.correlation > 0.99
    assert np.abs(band_pass(coarse)[body]).max() < 0.05
    assert detail(flat, fine, body).kept < 0.05


def test_noise_is_no_detail_of_the_truth():
    noise = np.random.default_rng(0).normal(0, 0.15, (64, 64)).astype(np.float32)
    found = detail(waves(1) + noise, waves(8), body_of(waves(8)))
    assert found.kept > 0.5
    assert abs(found.correlation) < 0.1


def test_the_body_has_no_rim_and_no_holes():
    image = waves(1)
    image[28:36, 28:36] = 0.0
    distance = np.hypot(*(np.indices((64, 64)) - 32))
    body = body_of(image)
    assert body[distance < 16].all()
    assert not body[distance > 22].any()


def test_the_contrast_of_a_lesion_that_is_half_gone_is_one_half():
    lesion = np.zeros((64, 64), dtype=bool)
    lesion[30:36, 30:38] = True
    flat = waves(1)
    assert contrast_kept(flat + 0.2 * lesion, flat + 0.4 * lesion, lesion) == pytest.approx(0.5)
    assert contrast_kept(flat - 0.1 * lesion, flat + 0.4 * lesion, lesion) == pytest.approx(-0.25)
    assert contrast_kept(flat, flat, lesion) is None
    assert lesion_facts(flat, None) is None
    facts = lesion_facts(flat + 0.4 * lesion, lesion)
    assert isinstance(facts, LesionFacts)
    assert facts.pixels == 48
    assert facts.cnr > 4


def test_psnr_of_an_outline_sees_the_outline_alone():
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[12:18, 22:28] = True
    image = truth()
    image[near_lesion(lesion)] += 0.04
    image[30:] += 1.0
    assert lf_psnr_of_outline(image, truth(), near_lesion(lesion), 4.0) == pytest.approx(40.0, abs=1e-3)


def test_the_chance_of_the_pointing_game_is_the_share_of_the_body_near_the_lesion():
    body = np.zeros(SHAPE, dtype=bool)
    body[5:35, 10:40] = True
    activation = np.zeros(SHAPE, dtype=np.float32)
    found = map_quality(activation, [BOX], body=body)
    rng = np.random.default_rng(0)
    hits = []
    for place in rng.permutation(np.argwhere(body)):
        one = activation.copy()
        one[tuple(place)] = 1.0
        hits.append(map_quality(one, [BOX]).pointed)
    assert found.chance == pytest.approx(np.mean(hits))


def test_a_map_that_fills_the_box():
    activation = np.zeros(SHAPE, dtype=np.float32)
    activation[10:22, 20:30] = 0.5
    found = map_quality(activation, [BOX])
    assert found.pointed
    assert found.inside
    assert found.energy_inside == pytest.approx(1.0)
    assert found.iou == tuple(float(t <= 0.5) for t in THRESHOLDS)


def test_half_of_the_energy_and_a_third_of_the_union():
    activation = np.zeros(SHAPE, dtype=np.float32)
    activation[10:22, 25:35] = 0.9
    found = map_quality(activation, [BOX])
    assert found.energy_inside == pytest.approx(0.5)
    assert found.iou[0] == pytest.approx(1 / 3)


@pytest.mark.parametrize(("column", "pointed"), [(29, True), (33, True), (34, False)])
def test_the_pointing_game_forgives_four_pixels(column, pointed):
    activation = np.zeros(SHAPE, dtype=np.float32)
    activation[15, column] = 1.0
    assert map_quality(activation, [BOX]).pointed is pointed


def test_an_empty_map_points_nowhere():
    found = map_quality(np.zeros(SHAPE, dtype=np.float32), [Box(0, 0, 8, 8)])
    assert (found.pointed, found.inside, found.energy_inside) == (False, False, 0.0)


def test_diagnosis_figures_by_hand():
    """Positives at .9 .8 .3, negatives at .6 .1: 2 of 3 found, 1 of 2 cleared, 5 of 6 pairs right."""
    found = diagnosis_quality([0.9, 0.8, 0.3, 0.6, 0.1], [True, True, True, False, False])
    assert found.auc == pytest.approx(5 / 6)
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.specificity == pytest.approx(1 / 2)
    assert diagnosis_quality([0.5], [True]) is None


def test_summary_weighs_and_counts():
    found = summarise([1.0, 2.0, 4.0], ["a", "a", "b"], [1, 1, 2])
    assert found.mean == pytest.approx(11 / 4)
    assert (found.n_subjects, found.n_entries) == (2, 3)
    assert found.interval == pytest.approx((1.5, 4.0))


def test_one_subject_has_no_interval_however_many_slices():
    assert summarise(list(range(50)), ["a"] * 50).interval is None
    assert summarise([], []) is None


def test_the_interval_covers_the_mean_of_the_population():
    """Subjects of one random mean each, many slices each: 95 % nominal, coarse with 12 subjects."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        centres = rng.normal(3.0, 1.0, 12)
        values = (centres[:, None] + rng.normal(0, 0.3, (12, 20))).ravel()
        subjects = [f"s{i}" for i in range(12) for _ in range(20)]
        low, high = summarise(values, subjects).interval
        covered += low <= 3.0 <= high
    assert 0.85 <= covered / 200 <= 1.0


def test_slices_are_not_taken_for_subjects():
    """Two subjects far apart with hundreds of slices: the interval reaches from one to the other."""
    values = [0.0] * 300 + [1.0] * 300
    low, high = summarise(values, ["a"] * 300 + ["b"] * 300).interval
    assert (low, high) == (0.0, 1.0)


def test_a_figure_that_is_mostly_undefined_has_no_interval():
    """Of two subjects the first is in three quarters of the resamples, alone in one quarter."""

    def one_where(asked: Callable[..., np.ndarray]) -> tuple[float, float] | None:
        def statistic(drawn: np.ndarray, axis: int) -> np.ndarray:
            return np.where(asked(drawn == 0, axis=axis), 1.0, np.nan)

        return interval_by_subject([np.arange(2)], statistic, 0)

    assert one_where(np.any) == (1.0, 1.0)
    assert one_where(np.all) is None


def test_the_interval_of_a_mean_is_scipys_of_the_means_of_equally_many_slices():
    values = np.random.default_rng(3).normal(size=(7, 5))
    subjects = [f"s{i}" for i in range(7) for _ in range(5)]
    expected = bootstrap(
        (values.mean(1),),
        np.mean,
        vectorized=True,
        method="percentile",
        n_resamples=N_RESAMPLES,
        random_state=np.random.default_rng(0),
    ).confidence_interval
    assert summarise(values.ravel(), subjects).interval == pytest.approx(tuple(expected))


@given(st.lists(st.integers(-4, 4).filter(bool), min_size=6, max_size=9))
def test_the_p_value_with_ties_is_that_of_every_sign_pattern(steps):
    expected = permutation_test(
        (np.array(steps, dtype=float),),
        lambda x, axis: (np.sign(x) * rankdata(np.abs(x), axis=-1)).sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    ).pvalue
    assert signed_rank_p(np.array(steps, dtype=float)) == pytest.approx(expected)


@pytest.mark.parametrize("n", [6, 9, 14])
def test_the_p_value_without_ties_is_scipys_exact_one(n):
    differences = np.random.default_rng(n).normal(0.4, 1.0, n)
    assert signed_rank_p(differences) == pytest.approx(wilcoxon(differences, method="exact").pvalue)


def test_p_value_from_six_subjects_on():
    """All six differences positive: two-sided exact p = 2 / 2^6."""
    subjects = [f"s{i}" for i in range(6)]
    ours, theirs = [1.1, 1.2, 1.3, 1.4, 1.5, 1.6], [1.0] * 6
    assert paired_difference(ours, theirs, subjects).p_value == pytest.approx(2 / 64)
    five = paired_difference(ours[:5], theirs[:5], subjects[:5])
    assert five.p_value is None
    assert five.p_text == "not stated: n < 6"
    assert five.interval[0] > 0
    assert not five.is_sure
    assert paired_difference(ours, theirs, subjects).is_sure


def test_many_slices_of_five_subjects_still_have_no_p_value():
    assert signed_rank_p(np.ones(5)) is None
    difference = paired_difference([1.0] * 500, [0.0] * 500, [f"s{i % 5}" for i in range(500)])
    assert difference.p_value is None
