"""The verdict: may the network reconstruct this measurement, and is its answer to be believed?

[our reading] The figures that the model card states hold for measurements like those that it was trained for,
and for measurements that agree with themselves. The gate asks these two questions, and all reasons that were
found are told together: the acquisition (acceleration, coils, size), the slices (noise, a dead coil,
contradictions among the calibration lines) and the network's own image (what it leaves of the data). It does
not guess which of two images has the smaller error: without a truth nobody knows, and a scan with motion is
delivered as the fallback with its reasons even where the network's image might be the better one, because a
reader must know that the data contradict each other, and no figure of the card speaks of such data. Outside,
the fallback is delivered and the reasons stand in the objects. Properties of slices decide when more than a
tenth of the slices with signal are outside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lfmri_node.recon.method.modelcard import ModelCard
from lfmri_node.recon.sense.sampling import acceleration
from lfmri_node.recon.trust.indicators import Indicators
from lfmri_node.recon.types import Bool, Method, Reason, ReconSettings

TOLERATED_FRACTION = 0.1
MINIMUM_CALIBRATION_SIDE = 8.0

FEW_LINES = 12
"""Below this side of the calibration square maps are coarser, and residuals have limits of their own."""
RESIDUALS = ("calibration_residual", "network_residual")
SUFFIX_FEW = "_few_lines"

MEANING = {
    "noise": ("LF-QUA-111", "noise relative to signal"),
    "weakest_coil": ("LF-QUA-112", "share of noise in the weakest coil"),
    "calibration_residual": ("LF-QUA-113", "contradiction among the calibration lines (motion, corruption)"),
    "centre_energy": ("LF-QUA-114", "energy at the centre of k-space"),
}
_SHOWN = {"points": "acceleration in two phase directions", "n_coils": "number of coils"}


def limit_name(name: str, calibration_side: float) -> str:
    """The card's entry with the range of indicator ``name`` for a slice with this calibration square."""
    return name + SUFFIX_FEW if name in RESIDUALS and calibration_side < FEW_LINES else name


def scan_reasons(
    sampled: Sequence[Bool],
    n_coils: int,
    size: tuple[int, int],
    settings: ReconSettings,
    card: ModelCard | None,
) -> tuple[Reason, ...]:
    """Reasons that follow from the acquisition itself.

    LF-QUA-100 the site's settings ask for another method, or no weights are loaded; 101 acceleration of
    a slice; 102 number of coils; 103 image size; 104 sampling in two phase directions without a training
    for it; 106 a slice lacks lines that others have.

    Parameters
    ----------
    sampled
        bool (p,) or (r, p) of every slice.
    """
    incomplete = _incomplete(sampled)
    if settings.method is not Method.LF_MRI:
        return (Reason(code="LF-QUA-100", message=f"configuration asks for {settings.method}"), *incomplete)
    if card is None:
        return (Reason(code="LF-QUA-100", message="no weights are loaded"), *incomplete)
    reasons = [*incomplete]
    points = sampled[0].ndim == 2
    if points and "points" not in card.limits:
        reasons.append(
            Reason(code="LF-QUA-104", message="sampling in two phase directions; trained on line sampling")
        )
    name = "points" if points and "points" in card.limits else "acceleration"
    reasons += _outside_acceleration(sampled, name, card)
    checks = (
        ("n_coils", "LF-QUA-102", (float(n_coils),)),
        ("size", "LF-QUA-103", (float(size[0]), float(size[1]))),
    )
    for name, code, values in checks:
        low, high = card.limits[name]
        for value in values:
            if not low <= value <= high:
                text = f"{_SHOWN.get(name, name)} {value:.3g} outside the trained {low:.3g} to {high:.3g}"
                reasons.append(Reason(code=code, message=text))
                break
    return tuple(reasons)


def _incomplete(sampled: Sequence[Bool]) -> tuple[Reason, ...]:
    """Slices whose points are a part of those of another slice: the rest was lost.

    Slices with masks of their own, none of which holds another, are as they were meant.
    """
    kinds, kind_of = np.unique(np.stack([mask.ravel() for mask in sampled]), axis=0, return_inverse=True)
    held = (kinds[:, None] & kinds[None]).sum(axis=2) == kinds.sum(axis=1)[:, None]
    missing = np.where(held, kinds.sum(axis=1)[None] - kinds.sum(axis=1)[:, None], 0).max(axis=1)
    lost = missing[kind_of.ravel()]
    slices = tuple(np.flatnonzero(lost).tolist())
    if not slices:
        return ()
    worst = int(np.argmax(lost))
    text = (
        f"incomplete: {lost[worst]} lines or points are missing that another slice has"
        f" (acceleration {acceleration(sampled[worst]):.3g} there)"
    )
    return (Reason(code="LF-QUA-106", message=text, slices=slices),)


def _outside_acceleration(sampled: Sequence[Bool], name: str, card: ModelCard) -> list[Reason]:
    found = [
        entry
        for entry in (_Outside(i, acceleration(mask), *card.limits[name]) for i, mask in enumerate(sampled))
        if not entry.low <= entry.value <= entry.high
    ]
    if not found:
        return []
    reason = _reason("LF-QUA-101", _SHOWN.get(name, name), found)
    return [replace(reason, slices=()) if len(found) == len(sampled) else reason]


def slice_reasons(indicators: Sequence[Indicators], card: ModelCard) -> tuple[Reason, ...]:
    """Reasons that follow from the measured slices.

    LF-QUA-105 too few calibration lines; 111..114 an indicator outside the card's range in more than
    a tenth of the slices with signal; 119 no slice holds signal.
    """
    with_signal = [i for i, entry in enumerate(indicators) if entry.signal > 0]
    if not with_signal:
        return (
            Reason(
                code="LF-QUA-119",
                message="no slice holds signal above its noise where the header puts the centre of k-space",
            ),
        )
    reasons = []
    short = [i for i in with_signal if indicators[i].calibration_side < MINIMUM_CALIBRATION_SIDE]
    if short:
        text = f"fewer than {MINIMUM_CALIBRATION_SIDE:.0f} calibration lines"
        reasons.append(Reason(code="LF-QUA-105", message=text, slices=tuple(short)))
    outside = {name: _outside(indicators, with_signal, name, card) for name in MEANING}
    affected = set().union(*outside.values())
    if len(affected) > TOLERATED_FRACTION * len(with_signal):
        for name, found in outside.items():
            if found:
                code, meaning = MEANING[name]
                reasons.append(_reason(code, meaning, found))
    return tuple(reasons)


class _Outside(NamedTuple):
    """Value of an indicator outside its range in slice ``place``."""

    place: int
    value: float
    low: float
    high: float

    @property
    def excess(self) -> float:
        return max(self.low - self.value, self.value - self.high)


def _outside(
    indicators: Sequence[Indicators], slices: Sequence[int], name: str, card: ModelCard
) -> list[_Outside]:
    entries = []
    for i in slices:
        allowed = card.domain[limit_name(name, indicators[i].calibration_side)]
        entries.append(_Outside(i, getattr(indicators[i], name), *allowed))
    return [entry for entry in entries if not entry.low <= entry.value <= entry.high]


def _reason(code: str, meaning: str, found: Sequence[_Outside]) -> Reason:
    worst = max(found, key=lambda entry: entry.excess)
    text = f"{meaning}: {worst.value:.3g} outside the trained {worst.low:.3g} to {worst.high:.3g}"
    return Reason(code=code, message=text, slices=tuple(entry.place for entry in found))


def network_reasons(
    residuals: Mapping[int, float], indicators: Sequence[Indicators], card: ModelCard
) -> tuple[Reason, ...]:
    """Reason LF-QUA-118 where the network's image leaves more of the data unexplained than in training.

    Parameters
    ----------
    residuals
        Slice with signal -> `indicators.network_residual`.
    indicators
        Of all slices.
    """
    entries = [
        _Outside(i, value, *card.domain[limit_name("network_residual", indicators[i].calibration_side)])
        for i, value in residuals.items()
    ]
    found = [entry for entry in entries if not entry.value <= entry.high]
    if len(found) <= TOLERATED_FRACTION * len(residuals):
        return ()
    return (_reason("LF-QUA-118", "data residual of the network's image", found),)
