"""Phase-encode masks by the fastMRI conventions, and what can be read off a mask.

Source of the conventions: Zbontar et al., fastMRI, arXiv 1811.08839, section 4; the exact
arithmetic is stated in each function.
"""

from __future__ import annotations

import numpy as np

from lfmri_node.recon.types import Bool


def centre_lines(n: int, centre_fraction: float) -> Bool:
    """bool (n,): the fully sampled centre of ``round(n * centre_fraction)`` lines."""
    n_centre = round(n * centre_fraction)
    start = (n - n_centre + 1) // 2
    lines = np.zeros(n, dtype=bool)
    lines[start : start + n_centre] = True
    return lines


def random_lines(
    n: int, acceleration: float, centre_fraction: float, rng: np.random.RandomState | np.random.Generator
) -> Bool:
    """bool (n,): the centre, and every other line with the probability that gives ``n / acceleration``.

    ``uniform < (n / acceleration - n_centre) / (n - n_centre)``, as fastMRI draws it.
    """
    lines = centre_lines(n, centre_fraction)
    n_centre = int(lines.sum())
    probability = (n / acceleration - n_centre) / (n - n_centre)
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{n_centre} centre lines of {n} do not allow acceleration {acceleration}")
    return lines | (rng.uniform(size=n) < probability)


def equispaced_lines(
    n: int, acceleration: int, centre_fraction: float, rng: np.random.RandomState | np.random.Generator
) -> Bool:
    """bool (n,): the centre, and every ``acceleration``-th line from an offset below ``acceleration``.

    The centre comes on top, so fewer than ``acceleration`` lines are saved: `equispaced_fraction_lines`
    corrects that.
    """
    lines = centre_lines(n, centre_fraction)
    lines[_offset(acceleration, rng) :: acceleration] = True
    return lines


def equispaced_fraction_lines(
    n: int, acceleration: float, centre_fraction: float, rng: np.random.RandomState | np.random.Generator
) -> Bool:
    """bool (n,): the centre, and lines at the distance that gives ``n / acceleration`` in all.

    The distance is ``acceleration (n_centre - n) / (n_centre acceleration - n)``; places are rounded,
    so gaps differ by one line.
    """
    lines = centre_lines(n, centre_fraction)
    n_centre = int(lines.sum())
    if n_centre * acceleration >= n:
        raise ValueError(f"{n_centre} centre lines of {n} do not allow acceleration {acceleration}")
    distance = acceleration * (n_centre - n) / (n_centre * acceleration - n)
    places = np.arange(_offset(round(distance), rng), n - 1, distance)
    lines[np.around(places).astype(int)] = True
    return lines


def _offset(stop: int, rng: np.random.RandomState | np.random.Generator) -> int:
    """Uniform in [0, stop); a `RandomState` draws it as fastMRI does."""
    if isinstance(rng, np.random.RandomState):
        return int(rng.randint(0, stop))
    return int(rng.integers(stop))


def rng_of_file(file_name: str) -> np.random.RandomState:
    """Generator seeded by the letters of a file name, ending included: one mask a volume, as in fastMRI."""
    return np.random.RandomState(tuple(map(ord, file_name)))


def acceleration(sampled: Bool) -> float:
    """Points of the full grid over points measured; infinite for an empty mask."""
    measured = int(np.count_nonzero(sampled))
    return sampled.size / measured if measured else float("inf")


def contiguous_centre(lines: Bool) -> tuple[int, int]:
    """Half-open range of the unbroken run of sampled lines around index ``n // 2``; empty run: (c, c)."""
    centre = lines.size // 2
    if not lines[centre]:
        return centre, centre
    gaps_below = np.flatnonzero(~lines[:centre])
    gaps_above = np.flatnonzero(~lines[centre:])
    start = int(gaps_below[-1]) + 1 if gaps_below.size else 0
    stop = centre + int(gaps_above[0]) if gaps_above.size else lines.size
    return start, stop


def calibration_box(sampled: Bool, n_readout: int, limit: int) -> tuple[slice, slice]:
    """Largest fully sampled box around the centre of k-space, at most ``limit`` points a side.

    Parameters
    ----------
    sampled
        bool (p,) or (r, p).
    n_readout
        Length of the readout axis (fully sampled where ``sampled`` is (p,)).
    limit
        Upper size of each side.

    Returns
    -------
    Slices along readout and phase, symmetric about ``n // 2`` as far as the samples reach.
    """
    if sampled.ndim == 1:
        run = contiguous_centre(sampled)
        return _centred(n_readout, (0, n_readout), limit), _centred(sampled.size, run, limit)
    n_r, n_p = sampled.shape
    best = (slice(n_r // 2, n_r // 2), slice(n_p // 2, n_p // 2))
    best_area = 0
    for half in range(1, limit // 2 + 1):
        rows = slice(max(n_r // 2 - half, 0), min(n_r // 2 + half, n_r))
        run = contiguous_centre(np.asarray(sampled[rows].all(axis=0)))
        columns = _centred(n_p, run, limit)
        side = min(rows.stop - rows.start, columns.stop - columns.start)
        if side**2 > best_area:
            best, best_area = (rows, columns), side**2
    return best


def _centred(n: int, run: tuple[int, int], limit: int) -> slice:
    centre = n // 2
    half_below = min(centre - run[0], limit // 2)
    half_above = min(run[1] - centre, limit - limit // 2)
    return slice(centre - half_below, centre + half_above)
