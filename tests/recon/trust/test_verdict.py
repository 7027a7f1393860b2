"""The verdict: each reason is raised by its own cause and by nothing else."""

import dataclasses

import numpy as np
import pytest

from lfmri_node.recon.method.modelcard import ModelCard, read_card
from lfmri_node.recon.trust.indicators import Indicators
from lfmri_node.recon.trust.verdict import network_reasons, scan_reasons, slice_reasons
from lfmri_node.recon.types import Method, ReconSettings

GOOD = Indicators(
    signal=1.0,
    calibration_side=16.0,
    noise=0.01,
    weakest_coil=0.05,
    calibration_residual=0.02,
    centre_energy=0.9,
)
FEW = dataclasses.replace(GOOD, calibration_side=9.0, calibration_residual=0.15)
FOUR = np.tile([True, False, False, False], 40)


@pytest.fixture
def card(write_model):
    return read_card(
        write_model(
            noise=(0.0, 0.03),
            calibration_residual=(0.0, 0.1),
            calibration_residual_few_lines=(0.0, 0.2),
            network_residual=(0.0, 0.2),
            network_residual_few_lines=(0.0, 0.4),
        )
    )


def codes(reasons) -> list[str]:
    return [reason.code for reason in reasons]


@pytest.mark.parametrize(
    ("sampled", "n_coils", "size", "expected"),
    [
        (FOUR, 8, (160, 160), []),
        (np.tile([True] + 11 * [False], 14), 8, (160, 168), ["LF-QUA-101"]),
        (np.ones(160, dtype=bool), 8, (160, 160), ["LF-QUA-101"]),
        (FOUR, 1, (160, 160), ["LF-QUA-102"]),
        (FOUR, 8, (640, 160), ["LF-QUA-103"]),
        (np.tile(FOUR, (160, 1)), 8, (160, 160), ["LF-QUA-104"]),
    ],
)
def test_properties_of_the_scan(card, sampled, n_coils, size, expected):
    assert codes(scan_reasons([sampled], n_coils, size, ReconSettings(), card)) == expected


def test_no_weights_or_another_method(card):
    settings = ReconSettings(method=Method.CG_SENSE)
    assert codes(scan_reasons([FOUR], 8, (160, 160), settings, card)) == ["LF-QUA-100"]
    assert codes(scan_reasons([FOUR], 8, (160, 160), ReconSettings(), None)) == ["LF-QUA-100"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"calibration_side": 5.0}, "LF-QUA-105"),
        ({"noise": 0.05}, "LF-QUA-111"),
        ({"calibration_residual": 0.3}, "LF-QUA-113"),
        ({"noise": float("nan")}, "LF-QUA-111"),
    ],
)
def test_a_bad_slice_alone_is_a_reason(card, changes, code):
    bad = dataclasses.replace(GOOD, **changes)
    assert codes(slice_reasons([bad], card)) == [code]


def test_one_slice_in_ten_is_tolerated_and_two_are_named(card):
    bad = dataclasses.replace(GOOD, noise=0.05)
    assert slice_reasons([bad] + 9 * [GOOD], card) == ()
    (reason,) = slice_reasons([GOOD, bad] + 7 * [GOOD] + [bad], card)
    assert reason.code == "LF-QUA-111"
    assert reason.slices == (1, 9)
    assert "0.05" in reason.message
    assert "0.03" in reason.message


def test_slices_without_signal_do_not_count(card):
    empty = dataclasses.replace(GOOD, signal=0.0, noise=float("inf"))
    assert slice_reasons([GOOD, empty, empty], card) == ()
    assert codes(slice_reasons([empty, empty], card)) == ["LF-QUA-119"]


def test_few_calibration_lines_have_limits_of_their_own(card):
    assert slice_reasons([FEW], card) == ()
    more = dataclasses.replace(FEW, calibration_side=12.0)
    assert codes(slice_reasons([more], card)) == ["LF-QUA-113"]
    assert network_reasons({0: 0.3}, [FEW], card) == ()
    assert codes(network_reasons({0: 0.3}, [more], card)) == ["LF-QUA-118"]


def test_a_network_that_does_not_explain_the_data_is_not_believed(card):
    slices = 4 * [GOOD]
    assert network_reasons({0: 0.05, 1: 0.19}, slices, card) == ()
    (reason,) = network_reasons({0: 0.05, 3: 0.5}, slices, card)
    assert (reason.code, reason.slices) == ("LF-QUA-118", (3,))
    assert codes(network_reasons({0: float("nan")}, slices, card)) == ["LF-QUA-118"]


def test_points_are_measured_against_the_points_of_the_training(card):
    points = np.tile(FOUR, (160, 1))
    trained = dataclasses.replace(card, limits={**card.limits, "points": (3.0, 9.0)})
    assert scan_reasons([points], 8, (160, 160), ReconSettings(), trained) == ()
    narrow = dataclasses.replace(card, limits={**card.limits, "points": (5.0, 9.0)})
    (reason,) = scan_reasons([points], 8, (160, 160), ReconSettings(), narrow)
    assert reason.code == "LF-QUA-101"
    assert "two phase directions" in reason.message


def test_a_slice_that_lost_lines_is_named_whatever_the_method(card: ModelCard) -> None:
    whole = np.arange(160) % 4 == 0
    whole[72:88] = True
    lost = whole.copy()
    lost[84:88] = False
    for settings, known in ((ReconSettings(), card), (ReconSettings(method=Method.CG_SENSE), None)):
        reasons = scan_reasons([whole, whole, lost, whole], 8, (160, 160), settings, known)
        (reason,) = [reason for reason in reasons if reason.code == "LF-QUA-106"]
        assert reason.slices == (2,)
        assert "4 lines" in reason.message
        assert f"{160 / 48:.3g}" in reason.message


def test_slices_with_masks_of_their_own_are_complete_and_each_accelerated(card: ModelCard) -> None:
    """Twelve slices of a twelfth of the lines each: together they are all lines."""
    masks = [np.arange(240) % 12 == s for s in range(12)]
    reasons = scan_reasons(masks, 8, (160, 160), ReconSettings(), card)
    (reason,) = [reason for reason in reasons if reason.code == "LF-QUA-101"]
    assert "12" in reason.message
    assert reason.slices == ()
    assert "LF-QUA-106" not in codes(reasons)


def test_one_slice_of_another_acceleration_is_named(card: ModelCard) -> None:
    few = np.arange(160) % 40 == 1
    (reason,) = scan_reasons([FOUR, few, FOUR], 8, (160, 160), ReconSettings(), card)
    assert (reason.code, reason.slices) == ("LF-QUA-101", (1,))
