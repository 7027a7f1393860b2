"""What the verdict looked at, for people: the worst slice, its own range, and agreement with the reasons."""

import dataclasses
import math

import numpy as np
import pytest

from lfmri_node.recon.method.modelcard import read_card
from lfmri_node.recon.trust.figures import figures_of
from lfmri_node.recon.trust.indicators import Indicators
from lfmri_node.recon.trust.verdict import network_reasons, scan_reasons, slice_reasons
from lfmri_node.recon.types import Figure, ReconSettings

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
SIZE = (160, 160)


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


def named(figures: tuple[Figure, ...]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


def test_the_slice_farthest_outside_is_told_and_all_that_are_outside_are_counted(card):
    slices = [GOOD, dataclasses.replace(GOOD, noise=0.04), dataclasses.replace(GOOD, noise=0.06)]
    noise = named(figures_of(3 * [FOUR], 8, SIZE, slices, {}, card))["noise relative to signal"]
    assert (noise.value, noise.low, noise.high, noise.n_outside) == (0.06, 0.0, 0.03, 2)


def test_where_all_is_well_the_slice_nearest_to_its_upper_limit_is_told(card):
    slices = [GOOD, dataclasses.replace(GOOD, noise=0.029), GOOD]
    figures = figures_of(3 * [FOUR], 8, SIZE, slices, {0: 0.05, 1: 0.19, 2: 0.1}, card)
    assert {figure.name: figure.n_outside for figure in figures} == dict.fromkeys(named(figures), 0)
    assert named(figures)["noise relative to signal"].value == 0.029
    assert named(figures)["data residual of the network's image, beyond noise"].value == 0.19
    assert named(figures)["acceleration"].value == 4.0


def test_a_slice_of_few_lines_is_compared_with_the_range_of_such_slices(card):
    name = "contradiction among the calibration lines (motion, corruption)"
    close = dataclasses.replace(GOOD, calibration_residual=0.09)
    worst = named(figures_of(2 * [FOUR], 8, SIZE, [FEW, close], {}, card))[name]
    assert (worst.value, worst.high) == (0.09, 0.1), "0.15 of 0.2 is farther from its limit than 0.09 of 0.1"
    worst = named(figures_of(2 * [FOUR], 8, SIZE, [FEW, GOOD], {}, card))[name]
    assert (worst.value, worst.high) == (0.15, 0.2)
    lines = named(figures_of(2 * [FOUR], 8, SIZE, [FEW, GOOD], {}, card))["calibration lines"]
    assert (lines.value, lines.low, lines.high) == (9.0, 8.0, None), "fewer are worse"


@pytest.mark.parametrize(
    ("changes", "sampled", "n_coils", "size", "residual"),
    [
        ({}, FOUR, 8, SIZE, 0.1),
        ({"noise": 0.05}, FOUR, 8, SIZE, 0.1),
        ({"noise": math.nan}, FOUR, 8, SIZE, 0.1),
        ({"calibration_side": 5.0}, FOUR, 8, SIZE, 0.1),
        ({"calibration_residual": 0.3}, FOUR, 8, SIZE, 0.1),
        ({}, np.ones(160, dtype=bool), 8, SIZE, 0.1),
        ({}, FOUR, 1, SIZE, 0.1),
        ({}, FOUR, 8, (640, 160), 0.1),
        ({}, FOUR, 8, SIZE, 0.5),
        ({}, FOUR, 8, SIZE, math.nan),
    ],
)
def test_figures_and_reasons_agree(card, changes, sampled, n_coils, size, residual):
    """One slice: what is outside is a reason, and what is a reason is outside."""
    entry = dataclasses.replace(GOOD, **changes)
    reasons = [
        *scan_reasons([sampled], n_coils, size, ReconSettings(), card),
        *slice_reasons([entry], card),
        *network_reasons({0: residual}, [entry], card),
    ]
    figures = figures_of([sampled], n_coils, size, [entry], {0: residual}, card)
    assert sum(figure.n_outside for figure in figures) == len(reasons)


def test_slices_without_signal_have_no_figures(card):
    empty = dataclasses.replace(GOOD, signal=0.0, noise=math.inf)
    assert (
        named(figures_of(2 * [FOUR], 8, SIZE, [GOOD, empty], {}, card))["noise relative to signal"].value
        == 0.01
    )
    assert [f.name for f in figures_of([FOUR], 8, SIZE, [empty], {}, card)] == [
        "acceleration",
        "coils",
        "side of the matrix",
    ]


def test_without_a_network_there_is_no_range():
    figures = figures_of([FOUR], 8, SIZE, [GOOD], {}, None)
    assert {(figure.low, figure.high, figure.n_outside) for figure in figures} == {(None, None, 0)}
    assert named(figures)["coils"].value == 8
