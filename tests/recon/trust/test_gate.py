"""What the gate measures of a slice: damage is seen; few calibration lines and noise are not taken for it."""

import dataclasses

import numpy as np
import pytest

from lfmri_node.recon.evaluate.gate_study import Decision, report
from lfmri_node.recon.phantom.body import phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils, measure, object_phase
from lfmri_node.recon.sense.coilmaps import calibrate
from lfmri_node.recon.sense.sampling import centre_lines
from lfmri_node.recon.train.domain import limits, ranges
from lfmri_node.recon.trust.indicators import Indicators, measure_slice
from lfmri_node.recon.trust.verdict import FEW_LINES
from lfmri_node.recon.types import Bool, Complex, KSpace

N = 96
N_COILS = 8


def lines_of(n_centre: int) -> Bool:
    lines = centre_lines(N, n_centre / N)
    lines[::4] = True
    return lines


@pytest.fixture(scope="module")
def image() -> Complex:
    rng = np.random.default_rng(11)
    return (phantom_volume(1, (N, N), rng)[0] * object_phase((N, N), rng)).astype(np.complex64)


@pytest.fixture(scope="module")
def coils() -> Complex:
    return loop_coils(N_COILS, (N, N), np.random.default_rng(12))


def seen(kspace: KSpace) -> Indicators:
    return measure_slice(kspace, calibrate(kspace))


def test_neither_noise_nor_few_calibration_lines_are_a_contradiction(image, coils):
    """Undamaged, with 8 to 24 calibration lines and 0.1 to 5 % of noise: maps of 8 or 9 lines leave 3 %."""
    rng = np.random.default_rng(13)
    for n_centre in (8, 12, 24):
        for noise_std in (0.001, 0.05):
            found = seen(measure(image, coils, lines_of(n_centre), noise_std, rng))
            assert n_centre <= found.calibration_side <= n_centre + 1
            assert found.calibration_residual < (0.05 if n_centre < FEW_LINES else 0.03)


def test_motion_between_the_lines_is_a_contradiction_at_any_noise(image, coils):
    """Every other line sees the object four pixels away."""
    rng = np.random.default_rng(14)
    moved = np.roll(image, 4, axis=1)
    for noise_std in (0.001, 0.05):
        lines = lines_of(16)
        still = measure(image, coils, lines, noise_std, rng)
        data = still.data.copy()
        late = np.flatnonzero(lines)[::2]
        data[:, :, late] = measure(moved, coils, lines, noise_std, rng).data[:, :, late]
        moving = seen(KSpace(data=data, sampled=lines)).calibration_residual
        assert moving > 0.05
        assert moving > 3 * seen(still).calibration_residual


@pytest.mark.parametrize("silent", [False, True])
def test_a_dead_coil_is_seen_at_any_noise(image, coils, silent):
    rng = np.random.default_rng(15)
    dead = coils.copy()
    dead[3] = 0
    for noise_std in (0.001, 0.05):
        alive = seen(measure(image, coils, lines_of(16), noise_std, rng))
        broken = measure(image, dead, lines_of(16), noise_std, rng)
        if silent:
            broken.data[3] = 0
        assert alive.weakest_coil < 0.5
        assert seen(broken).weakest_coil > 0.7


@pytest.mark.parametrize("noise_std", [0.003, 0.03])
def test_noise_is_told_relative_to_the_brightest_tissue(image, coils, noise_std):
    kspace = measure(image, coils, lines_of(16), noise_std, np.random.default_rng(16))
    bright = float(np.percentile(np.abs(image), 99.5))
    assert seen(kspace).noise == pytest.approx(noise_std / bright, rel=0.25)


def test_indicators_do_not_know_the_scale_of_the_data(image, coils):
    kspace = measure(image, coils, lines_of(16), 0.01, np.random.default_rng(17))
    scaled = dataclasses.replace(kspace, data=kspace.data * np.float32(1e-5))
    one, other = seen(kspace).as_dict(), seen(scaled).as_dict()
    assert other == pytest.approx(one, rel=1e-2, abs=1e-4)


def test_noise_alone_is_no_signal():
    rng = np.random.default_rng(18)
    nothing = np.zeros((N, N), dtype=np.complex64)
    kspace = measure(nothing, loop_coils(N_COILS, (N, N), rng), lines_of(16), 1.0, rng)
    assert seen(kspace).signal == 0.0
    silent = KSpace(data=np.zeros_like(kspace.data), sampled=kspace.sampled)
    assert seen(silent).signal == 0.0


def row(**values: float) -> dict[str, float]:
    usual = Indicators(
        signal=1.0,
        calibration_side=20.0,
        noise=0.01,
        weakest_coil=0.1,
        calibration_residual=0.01,
        centre_energy=0.9,
    )
    return usual.as_dict() | {"network_residual": 0.02} | values


def test_ranges_are_one_sided_and_few_lines_have_their_own():
    rng = np.random.default_rng(19)
    many = [row(calibration_residual=v) for v in rng.uniform(0, 0.02, 400)]
    few = [row(calibration_side=FEW_LINES - 1, calibration_residual=v) for v in rng.uniform(0, 0.05, 400)]
    found = ranges([*many, *few, row(signal=0.0, noise=float("inf"))])
    assert found["calibration_residual"] == pytest.approx((0.0, 0.019), abs=0.001)
    assert found["calibration_residual_few_lines"] == pytest.approx((0.0, 0.0475), abs=0.002)
    assert found["noise"][0] == 0.0
    assert found["centre_energy"][1] == 1.0
    assert ranges(many)["network_residual_few_lines"] == ranges(many)["network_residual"]


def test_limits_hold_the_training_with_a_margin():
    low, high = limits()["acceleration"]
    assert 1.5 < low < 2.0
    assert 10.0 < high < 12.0
    assert set(limits()) == {"acceleration", "n_coils", "size", "points"}


def decision(gain_db: float, *codes: str, group: str = "a") -> Decision:
    return Decision(
        group=group,
        name="slice",
        acceleration=4.0,
        n_coils=8,
        noise=0.01,
        network_db=30.0 + gain_db,
        fallback_db=30.0,
        codes=codes,
    )


@pytest.mark.parametrize(
    ("gain_db", "codes", "wrong"),
    [
        (1.0, (), False),
        (1.0, ("LF-QUA-113",), True),
        (0.2, ("LF-QUA-113",), False),
        (-0.2, (), False),
        (-1.0, (), True),
        (-1.0, ("LF-QUA-113",), False),
    ],
)
def test_a_decision_is_wrong_by_more_than_three_tenths_of_a_decibel(gain_db, codes, wrong):
    assert decision(gain_db, *codes).wrong is wrong


def test_the_study_counts_wrong_decisions_by_group_and_names_the_reasons():
    decisions = [
        decision(1.0),
        decision(1.0, "LF-QUA-113", "LF-QUA-118"),
        decision(-1.0, group="b"),
        decision(-1.0, "LF-QUA-113", group="b"),
    ]
    battery = [{"input": "motion", "n": 4, "trusted": 1, "fallback": 3, "codes": {"LF-QUA-113": 3}}]
    text = report("toy", decisions, battery, 0)
    assert "| a | 2 | 2 | 1 | 0 | 0 | 1 (50 %) | LF-QUA-113 (1), LF-QUA-118 (1) |" in text
    assert "| b | 2 | 0 | 0 | 2 | 1 | 1 (50 %) | - |" in text
    assert "| all | 4 | 2 | 1 | 2 | 1 | 2 (50 %) |" in text
    assert "| motion | 4 | 3 | LF-QUA-113 (3) |" in text
