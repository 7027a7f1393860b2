"""The marked lesions of a map: connected regions above the threshold, over slices too, one number each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfmri_node.recon.types import Bool, Geometry, LesionMap, Vector

_TOUCHING = np.ones((3, 3, 3), dtype=bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One marked region.

    Parameters
    ----------
    number
        From 1, the largest first; the number of its segment.
    mask
        bool (s, y, x).
    slices
        First and last slice, from 0.
    peak
        Voxel (s, y, x) of the highest activation.
    centre_mm
        LPS position of the centre of its voxels.
    score
        Highest slice score of the slices that it is in.
    """

    number: int
    mask: Bool
    slices: tuple[int, int]
    peak: tuple[int, int, int]
    centre_mm: Vector
    volume_mm3: float
    maximum_activation: float
    score: float


def marks_of(lesion: LesionMap, geometry: Geometry) -> tuple[Mark, ...]:
    """Every voxel at or above the threshold belongs to exactly one mark; voxels that touch, to the same."""
    regions, n_regions = ndimage.label(lesion.mask, structure=_TOUCHING)
    sizes = np.bincount(regions.ravel(), minlength=n_regions + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    return tuple(
        _mark(number, regions == region + 1, lesion, geometry) for number, region in enumerate(order, start=1)
    )


def numbered(marks: tuple[Mark, ...], shape: tuple[int, int, int]) -> NDArray[np.uint16]:
    """u16 (s, y, x): the number of the mark that a voxel belongs to, 0 outside."""
    numbers = np.zeros(shape, dtype=np.uint16)
    for mark in marks:
        numbers[mark.mask] = mark.number
    return numbers


def _mark(number: int, mask: Bool, lesion: LesionMap, geometry: Geometry) -> Mark:
    inside = np.argwhere(mask)
    first, last = int(inside[0, 0]), int(inside[-1, 0])
    s, y, x = (int(i) for i in np.unravel_index(np.where(mask, lesion.activation, -1.0).argmax(), mask.shape))
    spacing_s, spacing_y, spacing_x = geometry.spacing_mm
    between = spacing_s if geometry.matrix[0] > 1 else geometry.thickness_mm
    centre = inside.mean(axis=0)
    return Mark(
        number=number,
        mask=mask,
        slices=(first, last),
        peak=(s, y, x),
        centre_mm=geometry.voxel_centre_mm(float(centre[0]), float(centre[1]), float(centre[2])),
        volume_mm3=len(inside) * between * spacing_y * spacing_x,
        maximum_activation=float(lesion.activation[s, y, x]),
        score=float(lesion.scores[first : last + 1].max()),
    )
