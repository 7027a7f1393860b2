"""Where a slice lies: the Image Plane module (PS3.3 C.7.6.2) of `recon.types.Geometry`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from lfmri_node.recon.types import Geometry

_DIRECTIONS = (("L", "R"), ("P", "A"), ("H", "F"))


def decimal(value: float) -> DSfloat:
    """``value`` as a decimal string of at most 16 characters (PS3.5 section 6.2), without negative zero."""
    return DSfloat(round(float(value), 12) + 0.0, auto_format=True)


def orientation(geometry: Geometry) -> NDArray[np.float64]:
    """Row and column direction cosines, (2, 3): the orthonormal pair nearest to ``axis_x`` and ``axis_y``.

    `Geometry` accepts axes that are orthonormal to 1e-3; Image Orientation (Patient) must be to 1e-4.
    """
    left, _, right = np.linalg.svd(
        np.array([geometry.axis_x, geometry.axis_y], dtype=float), full_matrices=False
    )
    return np.asarray(left @ right)


def add_image_plane(dataset: Dataset, geometry: Geometry, s: int) -> None:
    """Position, orientation and spacing of slice ``s`` (from 0).

    Pixel Spacing is (row spacing, column spacing), that is, along y first; Slice Location is the position
    along the normal of the slice. Spacing Between Slices is left out where there is one slice.
    """
    axes = orientation(geometry)
    position = geometry.voxel_centre_mm(s, 0, 0)
    spacing_s, spacing_y, spacing_x = geometry.spacing_mm
    dataset.ImagePositionPatient = [decimal(v) for v in position]
    dataset.ImageOrientationPatient = [decimal(v) for v in axes.ravel()]
    dataset.PixelSpacing = [decimal(spacing_y), decimal(spacing_x)]
    dataset.SliceThickness = decimal(geometry.thickness_mm)
    dataset.SliceLocation = decimal(float(np.cross(axes[0], axes[1]) @ np.array(position)))
    if geometry.matrix[0] > 1:
        dataset.SpacingBetweenSlices = decimal(spacing_s)


def patient_orientation(geometry: Geometry) -> tuple[str, str]:
    """Patient Orientation (0020,0020): the main direction of rows and of columns, one letter each."""
    row, column = orientation(geometry)
    return _letter(row), _letter(column)


def _letter(axis: NDArray[np.float64]) -> str:
    main = int(np.abs(axis).argmax())
    return _DIRECTIONS[main][0 if axis[main] > 0 else 1]
