"""Which method is delivered as the fallback, and how the scan's own samples decide it."""

import numpy as np
import pytest

from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.classical import cg_sense, wavelet
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.sampling import centre_lines, random_lines
from lfmri_node.recon.trust.fallback import (
    JUDGED,
    SOLVERS,
    choose,
    judge,
    judged_slices,
    leave_out,
)
from lfmri_node.recon.types import CoilMaps, KSpace, Method

SHAPE = (80, 72)


@pytest.fixture(scope="module")
def scan() -> tuple[KSpace, CoilMaps]:
    rng = np.random.default_rng(7)
    image = (phantom_volume(1, SHAPE, rng)[0] * object_phase(SHAPE, rng)).astype(np.complex64)
    lines = random_lines(SHAPE[1], 3.0, 0.2, np.random.RandomState(1))
    kspace = measure(image, loop_coils(6, SHAPE, rng), lines, 0.01, rng)
    return kspace, estimate(kspace)


def as_points(kspace: KSpace) -> KSpace:
    return KSpace(data=kspace.data, sampled=np.broadcast_to(kspace.sampled, SHAPE).copy())


@pytest.mark.parametrize("points", [False, True])
def test_few_samples_are_left_out_and_none_that_the_maps_come_from(scan, points):
    kspace = as_points(scan[0]) if points else scan[0]
    held = leave_out(kspace, np.random.default_rng(0))
    kept = KSpace(data=kspace.data * ~held, sampled=kspace.sampled & ~held)
    assert held.any()
    assert not held[~kspace.sampled].any()
    assert np.count_nonzero(held) < 0.2 * np.count_nonzero(kspace.sampled)
    np.testing.assert_array_equal(estimate(kept).maps, estimate(kspace).maps)


def test_wavelets_are_delivered_where_they_predict_better(scan):
    choice = choose([scan] * JUDGED, Method.WAVELET)
    assert choice.method is Method.WAVELET
    assert "wavelet 0." in choice.why
    assert "cg-sense 0." in choice.why


@pytest.mark.parametrize("lamda", [0.3, 1e3])
def test_cg_sense_is_delivered_where_wavelets_are_spoilt(scan, lamda):
    spoilt = {**SOLVERS, Method.WAVELET: lambda kspace, maps: wavelet(kspace, maps, lamda)}
    assert choose([scan] * JUDGED, Method.WAVELET, spoilt).method is Method.CG_SENSE


@pytest.mark.parametrize("method", [Method.CG_SENSE, Method.ZERO_FILLED])
def test_another_method_that_the_site_asks_for_is_not_judged(method):
    def never() -> None:
        raise AssertionError("no slice is needed")
        yield

    choice = choose(never(), method)
    assert (choice.method, choice.why) == (method, None)


def test_cg_sense_serves_where_nothing_can_be_left_out(scan):
    lines = centre_lines(SHAPE[1], 20 / SHAPE[1])
    kspace = KSpace(data=scan[0].data * lines, sampled=lines & scan[0].sampled)
    assert leave_out(kspace, np.random.default_rng(0)) is None
    assert choose([(kspace, scan[1])], Method.WAVELET).method is Method.CG_SENSE
    assert choose([], Method.WAVELET).method is Method.CG_SENSE


def test_the_estimate_ranks_images_as_the_truth_does(scan):
    """An empty image has about the energy of all samples as its error, nearly all of it seen."""
    solvers = {
        "nothing": lambda kspace, maps: np.zeros(SHAPE, dtype=np.complex64),
        "one iteration": lambda kspace, maps: cg_sense(kspace, maps, n_iterations=1),
        "wavelets": wavelet,
    }
    errors = judge([scan] * JUDGED, solvers)
    assert errors["wavelets"] < errors["one iteration"] < errors["nothing"]
    assert 0.9 < errors["nothing"] < 1.5


def test_silence_is_no_error(scan):
    silent = KSpace(data=np.zeros_like(scan[0].data), sampled=scan[0].sampled)
    assert judge([(silent, scan[1])], SOLVERS) == dict.fromkeys(SOLVERS, 0.0)


@pytest.mark.parametrize("n", [1, 2, 3, 40])
def test_the_cost_is_that_of_three_slices(n):
    slices = list(range(10, 10 + n))
    judged = judged_slices(slices)
    assert len(judged) == JUDGED
    assert set(judged) <= set(slices)
    assert len(set(judged)) == min(n, JUDGED)
    assert judged_slices([]) == []


def test_no_method_leaves_residue_in_the_air(scan):
    kspace, maps = scan
    for solver in SOLVERS.values():
        assert not solver(kspace, maps)[~maps.support].any()
