"""Sampling of the training: lines or points, random or equispaced, centre lines as in clinical matrices."""

from __future__ import annotations

import numpy as np

from lfmri_node.recon.types import Bool

ACCELERATION_RANGE = (2.0, 10.0)
_FEWEST_OUTSIDE = 4
_EQUISPACED, _DENSER_INSIDE, _PARTIAL = 0.35, 0.15, 0.15


def centre_lines(acceleration: float) -> tuple[int, int]:
    """Fewest and most centre lines: 12 and 26 at 4x, 8 and 13 at 8x.

    The numbers of lines, not the fractions, are those of clinical matrices (224 to 400 lines with 8 and
    4 %): they decide how well the coil maps can be estimated.
    """
    return int(np.clip(48 / acceleration, 8, 24)), int(np.clip(104 / acceleration, 12, 32))


def draw_mask(rng: np.random.Generator, n_centre: int, acceleration: float, n: int) -> Bool:
    """bool (n,): about ``n / acceleration`` lines, the centre among them.

    The others random (of these some denser towards the centre) or equispaced; in some masks the outermost
    lines of one side are left out, as in partial Fourier.
    """
    centre = _centre(n_centre, n)
    kind = rng.uniform()
    lines = np.arange(n)
    outside = np.flatnonzero(~centre)
    budget = min(max(round(n / acceleration) - n_centre, _FEWEST_OUTSIDE), outside.size)
    if rng.uniform() < _PARTIAL:
        reach = rng.uniform(0.25, 0.9) * (n - n // 2)
        kept = outside[lines[outside] - n // 2 < max(reach, n_centre)]
        outside = kept if kept.size >= budget else outside
    if kind < _EQUISPACED:
        step = outside.size / budget
        chosen = outside[np.floor(np.arange(rng.uniform(0, step), outside.size, step)).astype(int)]
    elif kind < _EQUISPACED + _DENSER_INSIDE:
        density = (1 - np.abs(outside - n // 2) / (n / 2 + 1)) ** rng.uniform(0.5, 2.5)
        chosen = rng.choice(outside, size=budget, replace=False, p=density / density.sum())
    else:
        chosen = rng.choice(outside, size=budget, replace=False)
    centre[chosen] = True
    return centre


def _centre(n_centre: int, n: int) -> Bool:
    lines = np.zeros(n, dtype=bool)
    start = n // 2 - n_centre // 2
    lines[start : start + n_centre] = True
    return lines


def draw_points(rng: np.random.Generator, n_centre: int, acceleration: float, shape: tuple[int, int]) -> Bool:
    """bool (r, p): points in two phase directions, a square centre, denser inside, corners left out.

    The density falls with a power of the radius, as in the Poisson discs of 3-D Cartesian protocols.
    """
    rows, columns = (np.abs(np.arange(n) - n // 2) / (n / 2) for n in shape)
    radius = np.hypot(rows[:, None], columns[None, :])
    density = np.where(radius <= 1.0, (1.05 - np.minimum(radius, 1.0)) ** rng.uniform(0.0, 2.0), 0.0)
    centre = np.outer(_centre(min(n_centre, shape[0]), shape[0]), _centre(min(n_centre, shape[1]), shape[1]))
    density[centre] = 0.0
    budget = max(round(density.size / acceleration) - int(centre.sum()), _FEWEST_OUTSIDE)
    probability = density * (budget / density.sum())
    for _ in range(8):  # what exceeds certainty is spread over the rest
        probability = np.minimum(probability, 1.0)
        free = (probability < 1.0) & (density > 0)
        missing = budget - probability.sum()
        if missing < 1 or not free.any():
            break
        probability[free] *= 1 + missing / probability[free].sum()
    return np.asarray((rng.uniform(size=shape) < probability) | centre)
