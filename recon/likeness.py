"""Which of several turned images is the one that another reconstruction shows.

Edges survive what differs between two reconstructions of one anatomy: contrast, shading, interpolation. But a
head is nearly symmetric, and its mirror image has nearly the same edges; the correlation with either is
high. So two candidates are judged by what only one of them shows: the partial correlation of their
*difference* with the reference, their sum held fixed. It is 1 for the same image and 0 for a symmetric
object however clear its edges are. Its standard error without any relation follows from the
autocorrelations of both fields, as neighbouring voxels are no independent witnesses.

Source of the standard error: M. S. Bartlett, J. R. Stat. Soc. 98 (1935) 536, in two dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, gaussian_gradient_magnitude

from lfmri_node.recon.types import Bool, Real

Floats = NDArray[np.float64]

MIN_LIKENESS = 0.3
"""Correlation of the edges below which no candidate looks like the reference."""
MIN_EVIDENCE = 0.2
"""Partial correlation below which two candidates are not told apart.

Measured: 0.27 to 0.7 between two contrasts of one head, 0.1 for a symmetric object under opposite shading.
"""
MIN_STANDARD_ERRORS = 5.0
"""The same in standard errors."""

_SMOOTHING_MM = 1.5
_REACH_MM = 3.0
_REACH_VOXELS = 2
_AROUND = 6.0
"""Width of the surroundings of an edge, in units of the smoothing."""
_AIR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """The best candidate against another.

    Parameters
    ----------
    candidate
        Index of the other.
    evidence
        Partial correlation of the difference of both with the reference.
    standard_errors
        ``evidence`` in units of its standard error without any relation.
    """

    candidate: int
    evidence: float
    standard_errors: float

    @property
    def beaten(self) -> bool:
        return self.evidence >= MIN_EVIDENCE and self.standard_errors >= MIN_STANDARD_ERRORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How like the reference the candidates are.

    Parameters
    ----------
    scores
        Correlation of the edges of each candidate, at its best displacement.
    displacement_mm
        (y, x) by which the reference lies beside the best candidate.
    best
        Index of the candidate with the highest score.
    rivals
        The best against each other candidate.
    """

    scores: tuple[float, ...]
    displacement_mm: tuple[float, float]
    best: int
    rivals: tuple[Rival, ...]

    @property
    def margin(self) -> float:
        """Score of the best candidate over that of the next."""
        best, second = sorted(self.scores, reverse=True)[:2]
        return best - second

    @property
    def alike(self) -> bool:
        """Whether the best candidate looks like the reference at all."""
        return self.scores[self.best] >= MIN_LIKENESS

    @property
    def decided(self) -> bool:
        """Whether the best candidate is the right one beyond doubt."""
        return self.alike and all(rival.beaten for rival in self.rivals)


def compare(candidates: Sequence[Real], reference: Real, spacing_mm: tuple[float, float]) -> Likeness:
    """Compare images f32 (s, y, x) with a reference on the same grid, NaN where it shows nothing.

    Parameters
    ----------
    spacing_mm
        (y, x) of the grid.

    Raises
    ------
    ValueError
        The reference covers too little of the grid to be compared.
    """
    reach = tuple(max(_REACH_VOXELS, round(_REACH_MM / step)) for step in spacing_mm)
    sigma = tuple(max(1.0, _SMOOTHING_MM / step) for step in spacing_mm)
    shown = _inside(np.isfinite(reference), sigma, reach)
    if not shown.any():
        raise ValueError("the reference covers too little of the grid")
    wanted = _edges(np.nan_to_num(reference), sigma)
    found = [_best_displacement(_edges(one, sigma), wanted, shown, reach) for one in candidates]
    scores = tuple(score for score, _, _ in found)
    best = int(np.argmax(scores))
    y, x = found[best][1]
    return Likeness(
        scores=scores,
        displacement_mm=(y * spacing_mm[0], x * spacing_mm[1]),
        best=best,
        rivals=tuple(
            _against(index, found[best][2], edges, wanted, shown)
            for index, (_, _, edges) in enumerate(found)
            if index != best
        ),
    )


def _edges(volume: Real, sigma: tuple[float, ...]) -> Floats:
    """Strength of the edges within each slice, in units of that around them.

    So neither bright fat nor the shading of coils decides; in air the mean of the slice is the unit.
    """
    strength = np.stack([gaussian_gradient_magnitude(plane.astype(np.float64), sigma) for plane in volume])
    around = np.stack([gaussian_filter(plane**2, [_AROUND * s for s in sigma]) for plane in strength])
    everywhere = np.mean(strength**2, axis=(1, 2), keepdims=True)
    return np.asarray(strength / np.sqrt(strength**2 + around + _AIR * everywhere + np.finfo(float).tiny))


def _inside(shown: Bool, sigma: tuple[float, ...], reach: tuple[int, ...]) -> Bool:
    """Voxels away from the border of what is shown, by the smoothing and the largest displacement."""
    y, x = (int(np.ceil(3 * s)) + r for s, r in zip(sigma, reach, strict=True))
    box = np.ones((1, 2 * y + 1, 2 * x + 1), dtype=bool)
    return np.asarray(binary_erosion(shown, box))


def _best_displacement(
    edges: Floats, wanted: Floats, shown: Bool, reach: tuple[int, ...]
) -> tuple[float, tuple[int, int], Floats]:
    """Score, displacement in voxels and the displaced edges of one candidate."""
    target = _normalised(wanted[shown])
    best: tuple[float, tuple[int, int]] = (-np.inf, (0, 0))
    for y in range(-reach[0], reach[0] + 1):
        for x in range(-reach[1], reach[1] + 1):
            moved = np.roll(edges, (y, x), (1, 2))[shown]  # what wraps around is not inside ``shown``
            best = max(best, (float(_normalised(moved) @ target), (y, x)))
    score, displacement = best
    return score, displacement, np.roll(edges, displacement, (1, 2))


def _normalised(values: Floats) -> Floats:
    centred = values - values.mean()
    return np.asarray(centred / (np.linalg.norm(centred) or 1.0))


def _against(index: int, best: Floats, other: Floats, wanted: Floats, shown: Bool) -> Rival:
    common = np.stack([np.ones(int(shown.sum())), (best + other)[shown]], axis=1)

    def without_common(field: Floats) -> Floats:
        values = field[shown]
        rest = np.zeros(shown.shape)
        rest[shown] = values - common @ np.linalg.lstsq(common, values, rcond=None)[0]
        return rest

    difference, witness = without_common(best - other), without_common(wanted)
    scale = float(np.linalg.norm(difference) * np.linalg.norm(witness))
    if scale == 0.0:
        return Rival(candidate=index, evidence=0.0, standard_errors=0.0)
    evidence = float(np.vdot(difference, witness)) / scale
    return Rival(
        candidate=index,
        evidence=evidence,
        standard_errors=evidence / _standard_error(difference, witness),
    )


def _standard_error(one: Floats, other: Floats) -> float:
    """Of the correlation of two unrelated fields with these autocorrelations."""
    shape = [2 * n for n in one.shape[1:]]
    spectra = [np.abs(np.fft.rfft2(field, shape)) ** 2 for field in (one, other)]
    first, second = (np.fft.irfft2(spectrum.sum(axis=0), shape) for spectrum in spectra)
    n_voxels = np.count_nonzero(one)
    return float(np.sqrt((first * second).sum() / (first[0, 0] * second[0, 0]) / n_voxels))
