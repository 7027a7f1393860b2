"""The scanner's own magnitude images of a scan, to compare ours with: planes in patient space.

Read by a command at which somebody sits; the service never opens such files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.misc import is_dicom
from pydicom.pixels.processing import apply_modality_lut
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage
from scipy.ndimage import gaussian_filter, map_coordinates

from lfmri_node.dicom_io.errors import ScannerImagesError
from lfmri_node.dicom_io.objects.attributes import NODE_MANUFACTURER
from lfmri_node.recon.types import Geometry, Real

_PARALLEL = 0.999
"""Cosine of the largest angle between planes that count as parallel (2.5 degrees)."""
_SAME_PLACE_MM = 0.05
_NOT_MAGNITUDE = frozenset({"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "MIXED"})
_HINT = "name one file or folder of magnitude images (MR Image Storage) of the same scan"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannerPlane:
    """One image of the scanner.

    Parameters
    ----------
    pixels
        f32 (y, x).
    origin_mm
        LPS position of the centre of pixel (0, 0).
    down_mm, right_mm
        LPS step to the next row and to the next column.
    """

    pixels: Real
    origin_mm: NDArray[np.float64]
    down_mm: NDArray[np.float64]
    right_mm: NDArray[np.float64]

    @property
    def normal(self) -> NDArray[np.float64]:
        """Unit vector across the plane."""
        across = np.cross(self.right_mm, self.down_mm)
        return np.asarray(across / np.linalg.norm(across))


def read_scanner_images(path: Path) -> tuple[ScannerPlane, ...]:
    """The magnitude planes in a DICOM file or in all files of a folder; the first at each place.

    Raises
    ------
    ScannerImagesError
        LF-ORI-011 no MR image with a place and magnitudes among them, or its pixels cannot be decoded;
        LF-ORI-012 several series; LF-ORI-013 images that this node made, which prove nothing.
    """
    files = sorted(item for item in path.rglob("*") if item.is_file()) if path.is_dir() else [path]
    images = [dataset for file in files if (dataset := _magnitude_image(file)) is not None]
    if len({str(image.SeriesInstanceUID) for image in images}) > 1:
        raise ScannerImagesError("LF-ORI-012", "the images belong to several series", _HINT)
    if any(image.get("Manufacturer") == NODE_MANUFACTURER for image in images):
        raise ScannerImagesError(
            "LF-ORI-013",
            "the images were made by this node and prove nothing",
            "name the scanner's own images",
        )
    planes: list[ScannerPlane] = []
    for image in sorted(images, key=lambda one: int(one.get("InstanceNumber") or 0)):
        for plane in _planes(image):
            places = (np.abs(plane.origin_mm - other.origin_mm).max() for other in planes)
            if min(places, default=np.inf) > _SAME_PLACE_MM:
                planes.append(plane)
    if not planes:
        raise ScannerImagesError("LF-ORI-011", "no magnitude MR image with a place in the patient", _HINT)
    return tuple(planes)


def on_grid(planes: Sequence[ScannerPlane], geometry: Geometry, slices: Sequence[int]) -> Real:
    """The planes as f32 (s, y, x) on the grid of some slices, NaN where they show nothing.

    A slice takes the nearest parallel plane within half the distance to its neighbours; nothing is
    interpolated between planes. A finer plane is smoothed to the grid's voxel first.
    """
    axes = np.array([geometry.axis_s, geometry.axis_y, geometry.axis_x])
    spacing = np.array(geometry.spacing_mm)
    within_mm = max(geometry.thickness_mm, geometry.spacing_mm[0]) / 2
    grid = np.full((len(slices), *geometry.matrix[1:]), np.nan, dtype=np.float32)
    y, x = np.indices(geometry.matrix[1:])
    in_plane = y[..., None] * spacing[1] * axes[1] + x[..., None] * spacing[2] * axes[2]
    parallel = [plane for plane in planes if abs(plane.normal @ axes[0]) > _PARALLEL]
    for row, s in enumerate(slices):
        points = np.array(geometry.origin_mm) + s * spacing[0] * axes[0] + in_plane
        centre = points.mean(axis=(0, 1))
        distances = [abs((centre - plane.origin_mm) @ plane.normal) for plane in parallel]
        if distances and min(distances) <= within_mm:
            grid[row] = _sampled(parallel[int(np.argmin(distances))], points, spacing[1:])
    return grid


def _sampled(plane: ScannerPlane, points: NDArray[np.float64], voxel_mm: NDArray[np.float64]) -> Real:
    """A plane at points (y, x, 3), NaN outside it."""
    steps = [np.linalg.norm(step) for step in (plane.down_mm, plane.right_mm)]
    coarser = [max(min(voxel_mm) / step, 1.0) for step in steps]
    smooth = gaussian_filter(plane.pixels, [0.5 * np.sqrt(ratio**2 - 1.0) for ratio in coarser])
    away = points - plane.origin_mm
    index = [away @ direction / (direction @ direction) for direction in (plane.down_mm, plane.right_mm)]
    return np.asarray(map_coordinates(smooth, index, order=1, cval=np.nan), dtype=np.float32)


def _magnitude_image(file: Path) -> Dataset | None:
    """The MR image in ``file``; None where it is something else or shows no magnitudes."""
    if not is_dicom(file):
        return None
    dataset = pydicom.dcmread(file)
    if dataset.get("SOPClassUID") not in (MRImageStorage, EnhancedMRImageStorage):
        return None
    shown = {str(value) for value in dataset.get("ImageType") or ()} | {
        str(dataset.get("ComplexImageComponent", ""))
    }
    return None if shown & _NOT_MAGNITUDE else dataset


def _planes(image: Dataset) -> Iterator[ScannerPlane]:
    """One plane of a single-frame image, all planes of a multi-frame one (PS3.3 C.7.6.2, C.7.6.16)."""
    try:
        pixels = np.asarray(apply_modality_lut(image.pixel_array, image), dtype=np.float32)
        if "PerFrameFunctionalGroupsSequence" not in image:
            yield _plane(
                pixels, image.ImagePositionPatient, image.ImageOrientationPatient, image.PixelSpacing
            )
            return
        shared = image.SharedFunctionalGroupsSequence[0]
        for frame, own in zip(
            pixels.reshape(-1, *pixels.shape[-2:]), image.PerFrameFunctionalGroupsSequence, strict=True
        ):

            def macro(name: str, own: Dataset = own) -> Dataset:
                item: Dataset = (own if name in own else shared)[name][0]
                return item

            yield _plane(
                frame,
                macro("PlanePositionSequence").ImagePositionPatient,
                macro("PlaneOrientationSequence").ImageOrientationPatient,
                macro("PixelMeasuresSequence").PixelSpacing,
            )
    except (AttributeError, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ScannerImagesError(
            "LF-ORI-011", f"an image has no usable place or pixels ({type(error).__name__})", _HINT
        ) from error


def _plane(
    pixels: Real, position: Sequence[float], orientation: Sequence[float], spacing: Sequence[float]
) -> ScannerPlane:
    origin = np.array(position, dtype=float)
    row, column = np.array(orientation, dtype=float).reshape(2, 3)
    down, right = np.array(spacing, dtype=float)
    numbers = np.concatenate([origin.ravel(), row, column, [down, right]])
    if origin.shape != (3,) or not np.isfinite(numbers).all() or min(down, right) <= 0:
        raise ValueError("no place")
    return ScannerPlane(pixels=pixels, origin_mm=origin, down_mm=column * down, right_mm=row * right)
