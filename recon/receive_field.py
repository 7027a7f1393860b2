"""The receive field of a delivered image, estimated from the image alone, and what evens it out.

Coil maps of unit sum of squares leave the image with the shading of the whole coil: the root of the sum of
squares of all sensitivities. What is estimated here is that field and every other smooth factor, above all of
transmission; nobody measured it.

[our reading] Inside one tissue the logarithm of the image changes only with the field; at edges between
tissues it jumps, and edges are few. So the logarithm of the field is the polynomial whose differences between
neighbouring voxels fit those of the image best in the robust sense of Cauchy, by iteratively reweighted least
squares: edges lose their weight. Large regions of other brightness stay as they are, since only their edges
count. The degree is two: with it the fields found in two contrasts of one head with one coil agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import ndimage

from lfmri_node.recon.types import Bool, Complex, ReceiveField, Reconstruction

LARGEST_FACTOR = 3.0
"""The image is multiplied by no more than this, and by no less than its inverse."""
REACH = 3
"""Voxels over which the correction ends outside the body; beyond, the image is unchanged."""
_DEGREE = 2
_TISSUE = 0.1
"""Of the brightest tissue, smoothed: from here on a voxel is body."""
_SMOOTHED_OVER, _SMALLEST_PART = 5, 0.02
_COARSE = (32, 48, 48)
_BEYOND = 1.1
_ROBUST_FROM, _ITERATIONS = 10, 40
_LEAST_VOXELS = 200

_Values = NDArray[np.float64]


def with_receive_field(reconstruction: Reconstruction) -> Reconstruction:
    """The same, with the receive field of its image."""
    return replace(reconstruction, receive_field=estimate_receive_field(reconstruction.image))


def estimate_receive_field(image: Complex) -> ReceiveField:
    """The smooth factor that evens out ``image`` c64 (s, y, x); one everywhere if there is too little tissue.

    In air the factor is one, to the bit; in the body the mean of its logarithm is about zero. It does not
    depend on the unit of the image.
    """
    magnitude = np.abs(image).astype(np.float64)
    body = _body(magnitude)
    grid = _Grid.of(magnitude, body)
    if grid is None:
        flat = np.ones(image.shape, dtype=np.float32)
        return ReceiveField(factor=flat, description="Receive field not estimated: too little tissue.")
    field = grid.field(_fit(*grid.differences()))
    limit = np.log(LARGEST_FACTOR)
    factor = np.exp(-_share(body) * np.clip(field - field[body].mean(), -limit, limit)).astype(np.float32)
    low, high = float(factor[body].min()), float(factor[body].max())
    return ReceiveField(factor=factor, description=_description(low, high))


def _body(magnitude: _Values) -> Bool:
    """Tissue and what it encloses, in each slice; small parts are noise."""
    level = ndimage.uniform_filter(magnitude, (1, _SMOOTHED_OVER, _SMOOTHED_OVER))
    bright = level > _TISSUE * np.percentile(level, 99)
    parts, n_parts = ndimage.label(bright)
    sizes = np.bincount(parts.ravel(), minlength=n_parts + 1)
    sizes[0] = 0
    large = np.isin(parts, np.flatnonzero(sizes > _SMALLEST_PART * sizes.max()))
    return np.stack([ndimage.binary_fill_holes(plane) for plane in large & bright])


def _share(body: Bool) -> _Values:
    """One in the body, zero from `REACH` voxels outside on, linear between."""
    away = np.stack(
        [ndimage.distance_transform_edt(~plane) if plane.any() else _far(plane) for plane in body]
    )
    return np.asarray(np.clip(1.0 - away / REACH, 0.0, 1.0))


def _far(plane: Bool) -> _Values:
    return np.full(plane.shape, np.inf)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grid:
    """A coarse grid of block means, and the polynomials on it.

    Parameters
    ----------
    values
        f64 (z, y, x): logarithm of the magnitude; 0 outside ``inside``.
    inside
        bool (z, y, x): blocks that are tissue as a whole.
    terms
        int (n, 3): degrees along z, y, x of each polynomial but the constant.
    coarse, fine
        Coordinates of the coarse and of the image's own grid along each axis; ``inside`` lies in [-1, 1].
    """

    values: _Values
    inside: Bool
    terms: NDArray[np.int_]
    coarse: tuple[_Values, ...]
    fine: tuple[_Values, _Values, _Values]

    @classmethod
    def of(cls, magnitude: _Values, body: Bool) -> _Grid | None:
        """None where there is too little tissue."""
        steps = [-(-n // most) for n, most in zip(magnitude.shape, _COARSE, strict=True)]
        mean = _block_mean(magnitude, steps)
        inside = (_block_mean(body.astype(np.float64), steps) == 1.0) & (
            mean > _TISSUE * np.percentile(mean, 99)
        )
        if np.count_nonzero(inside) < _LEAST_VOXELS:
            return None
        places = np.argwhere(inside)
        first, last = places.min(axis=0), places.max(axis=0)
        middle, half = (first + last) / 2, np.maximum((last - first) / 2, 0.5)
        at_block = [(np.arange(n) - middle[a]) / half[a] for a, n in enumerate(mean.shape)]
        in_blocks = [(np.arange(n) + 0.5) / steps[a] - 0.5 for a, n in enumerate(magnitude.shape)]
        fine = [np.clip((at - middle[a]) / half[a], -_BEYOND, _BEYOND) for a, at in enumerate(in_blocks)]
        return cls(
            values=np.log(mean, out=np.zeros_like(mean), where=inside),
            inside=inside,
            terms=_terms(int(last[0] - first[0]) + 1),
            coarse=tuple(at_block),
            fine=(fine[0], fine[1], fine[2]),
        )

    def differences(self) -> tuple[_Values, _Values]:
        """Between neighbours that both are tissue: f64 (m,) of the values, (m, n) of the polynomials."""
        pairs = list(self._pairs())
        values = np.concatenate([self.values[two] - self.values[one] for one, two in pairs])
        return values, np.concatenate([self._polynomials(two) - self._polynomials(one) for one, two in pairs])

    def _pairs(self) -> Iterator[tuple[tuple[NDArray[np.int_], ...], ...]]:
        for axis in range(3):
            one = np.argwhere(self.inside & np.roll(self.inside, -1, axis=axis))
            one = one[one[:, axis] < self.inside.shape[axis] - 1]
            yield tuple(one.T), tuple((one + np.eye(3, dtype=int)[axis]).T)

    def _polynomials(self, at: tuple[NDArray[np.int_], ...]) -> _Values:
        along = [legendre.legvander(self.coarse[a][at[a]], _DEGREE)[:, self.terms[:, a]] for a in range(3)]
        return np.asarray(along[0] * along[1] * along[2])

    def field(self, coefficients: _Values) -> _Values:
        """Logarithm of the field on the image's own grid, up to a constant."""
        cube = np.zeros((_DEGREE + 1,) * 3)
        cube[tuple(self.terms.T)] = coefficients
        z, y, x = self.fine
        return np.asarray(legendre.leggrid3d(z, y, x, cube))


def _block_mean(volume: _Values, steps: list[int]) -> _Values:
    """Means of whole blocks; what is left over at the end is left out."""
    s, y, x = (n // step for n, step in zip(volume.shape, steps, strict=True))
    a, b, c = steps
    return np.asarray(volume[: s * a, : y * b, : x * c].reshape(s, a, y, b, x, c).mean(axis=(1, 3, 5)))


def _terms(n_slices: int) -> NDArray[np.int_]:
    """Total degree up to `_DEGREE`; along z no more than the slices can tell."""
    along_z = min(_DEGREE, n_slices // 2)
    every = np.argwhere(np.ones((along_z + 1, _DEGREE + 1, _DEGREE + 1), dtype=bool))
    total = every.sum(axis=1)
    return np.asarray(every[(total > 0) & (total <= _DEGREE)])


def _fit(values: _Values, basis: _Values) -> _Values:
    """Coefficients (n,) that fit ``values`` in the sense of Cauchy, begun at the least absolute errors."""
    found = np.zeros(basis.shape[1])
    for n in range(_ITERATIONS):
        rest = values - basis @ found
        scale = 1.4826 * float(np.median(np.abs(rest))) + 1e-9
        size = np.abs(rest) / scale
        weights = 1.0 / np.maximum(size, 0.1) if n < _ROBUST_FROM else 1.0 / (1.0 + size**2)
        normal = (basis * weights[:, None]).T @ basis
        small = 1e-9 * np.trace(normal) / len(found)
        found = np.linalg.solve(normal + small * np.eye(len(found)), (basis * weights[:, None]).T @ values)
    return np.asarray(found)


def _description(low: float, high: float) -> str:
    return (
        "Divided by a receive field estimated from the image itself: polynomial of degree"
        f" {_DEGREE} in the logarithm, robust fit of differences between neighbours; factor {low:.2f} to"
        f" {high:.2f} in the body, limited to {1 / LARGEST_FACTOR:.2f} to {LARGEST_FACTOR:.2f};"
        " air unchanged."
    )
