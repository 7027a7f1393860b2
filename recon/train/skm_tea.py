"""SKM-TEA, raw data track: one x-plane at a time of 3-D knee scans, their maps, masks.

Desai et al., SKM-TEA, NeurIPS Datasets and Benchmarks 2021 (arXiv 2203.06823), version 1.0.0. A file
``files_recon_calib-24/MTR_xxx.h5`` holds hybrid k-space (x, ky, kz, echo, coil): x is in image space
already, so each of its 512 planes is a 2-D problem with both axes phase-encoded. ``target`` is about
``sum_c conj(maps_c) ifft2(kspace_c)``. Annotations: `skm_tea_boxes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from lfmri_node.recon.errors import InvalidDataset
from lfmri_node.recon.sense.fourier import fit_axis
from lfmri_node.recon.train.hdf5 import dataset, malformed, opened
from lfmri_node.recon.train.real import Group, RealSlice
from lfmri_node.recon.train.skm_tea_boxes import SkmTeaBoxes
from lfmri_node.recon.types import Bool

FOLDER = "files_recon_calib-24"

FIELD_STRENGTH_T = 3.0
"""Of every scan: two GE MR750 scanners (column ``MagneticFieldStrength`` of ``all_metadata.csv``)."""

ACCELERATIONS = (4, 6, 8, 10, 12, 16)
"""Poisson-disc masks that test files bring."""

_ACQUIRED_KY = 416
_PADDING_KZ = 80
"""Where no mask tells: (416, depth - 80) was zero-padded to (512, depth), as in the data set's own code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a file says of itself; no samples.

    Parameters
    ----------
    matrix
        (x, ky, kz): 512 x 512 x 160, in a few scans another depth.
    n_echoes, n_coils
        2 echoes; 8 coils, in some scans 16.
    accelerations
        Of the masks in the file; empty outside the test split.
    acquired
        (ky, kz) before zero padding: the shape of the masks, (416, depth - 80) where there are none.
    """

    path: Path
    matrix: tuple[int, int, int]
    n_echoes: int
    n_coils: int
    accelerations: tuple[int, ...]
    acquired: tuple[int, int]

    @property
    def measured(self) -> Bool:
        """bool (ky, kz): the acquired part of the padded plane."""
        return padded(np.ones(self.acquired, dtype=bool), self.matrix[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of a scan's target: standard deviation of its magnitude over both echoes, maximum of each echo."""

    std: float
    maximum: tuple[float, ...]


def files(folder: Path) -> tuple[Path, ...]:
    """Scans in ``folder/files_recon_calib-24``, by name; empty where there is no such folder."""
    return tuple(sorted((folder / FOLDER).glob("*.h5")))


def padded(mask: Bool, shape: tuple[int, int]) -> Bool:
    """``mask`` on the acquired grid, put in the middle of the zero-padded plane (48/48 and 40/40)."""
    return np.asarray(fit_axis(fit_axis(mask, 0, shape[0]), 1, shape[1]), dtype=bool)


def read_scan(path: Path) -> Scan:
    """Shapes and masks of a file.

    Raises
    ------
    InvalidDataset
        LF-LAB-103, 104: no HDF5 file, or of another layout.
    """
    with opened(path) as file:
        return _scan(file, path)


def _scan(file: h5py.File, path: Path) -> Scan:
    n_x, n_y, n_z, n_echoes, n_coils = dataset(file, "kspace", 5).shape
    if dataset(file, "maps", 5).shape != (n_x, n_y, n_z, n_coils, 1):
        raise malformed(file, "has maps of another shape than its k-space")
    if dataset(file, "target", 5).shape != (n_x, n_y, n_z, n_echoes, 1):
        raise malformed(file, "has a target of another shape than its k-space")
    accelerations = tuple(a for a in ACCELERATIONS if _mask_name(a) in file)
    shapes = {dataset(file, _mask_name(a), 2).shape for a in accelerations}
    acquired = next(iter(shapes), (min(_ACQUIRED_KY, n_y), max(n_z - _PADDING_KZ, 1)))
    if len(shapes) > 1 or acquired[0] > n_y or acquired[1] > n_z:
        raise malformed(file, "has masks of several shapes, or larger than its k-space")
    return Scan(
        path=path,
        matrix=(n_x, n_y, n_z),
        n_echoes=n_echoes,
        n_coils=n_coils,
        accelerations=accelerations,
        acquired=acquired,
    )


def _mask_name(acceleration: int) -> str:
    return f"masks/poisson_{acceleration:.1f}x"


def statistics(path: Path) -> Statistics:
    """Standard deviation and maxima of |target|, plane by plane (Chan's update; float64)."""
    with opened(path) as file:
        scan = _scan(file, path)
        count, mean, squares = 0, 0.0, 0.0
        maximum = np.zeros(scan.n_echoes)
        for x in range(scan.matrix[0]):
            plane = np.abs(file["target"][x, ..., 0]).astype(np.float64)
            maximum = np.maximum(maximum, plane.max(axis=(0, 1)))
            total, shift = count + plane.size, float(plane.mean()) - mean
            squares += float(plane.var()) * plane.size + shift**2 * count * plane.size / total
            mean += shift * plane.size / total
            count = total
    return Statistics(std=math.sqrt(squares / count), maximum=tuple(map(float, maximum)))


def slices(
    path: Path,
    *,
    boxes: SkmTeaBoxes | None = None,
    echoes: tuple[int, ...] = (0, 1),
    which: Iterable[int] | None = None,
    known: Statistics | None = None,
) -> Iterator[RealSlice]:
    """Planes of a file in order, each read when it is asked for; divided by the std of |target|.

    Parameters
    ----------
    boxes
        Annotations; without them no plane has a label or box.
    echoes
        To be given, one slice each.
    which
        Planes to read; all by default.
    known
        `statistics` of the file; computed first, in one pass over the target, when it is None.

    Raises
    ------
    InvalidDataset
        LF-LAB-103, 104 as `read_scan`; 104 also when the target is zero or holds another matrix than
        the annotations say.
    """
    known = known or statistics(path)
    with opened(path) as file:
        scan = _scan(file, path)
        if not known.std > 0:
            raise malformed(file, "has a target without signal")
        if boxes is not None and boxes.matrix(path.stem) not in (None, scan.matrix):
            raise malformed(file, f"has the matrix {scan.matrix}, its annotations another")
        for x in range(scan.matrix[0]) if which is None else which:
            yield from _plane(file, scan, x, known, echoes, boxes)


def _plane(
    file: h5py.File,
    scan: Scan,
    x: int,
    known: Statistics,
    echoes: tuple[int, ...],
    boxes: SkmTeaBoxes | None,
) -> Iterator[RealSlice]:
    scale = np.float32(known.std)
    kspace = file["kspace"][x]
    maps = np.ascontiguousarray(np.moveaxis(file["maps"][x, ..., 0], -1, 0), dtype=np.complex64)
    target = file["target"][x, ..., 0]
    name = scan.path.stem
    for echo in echoes:
        yield RealSlice(
            kspace=np.ascontiguousarray(np.moveaxis(kspace[:, :, echo], -1, 0), dtype=np.complex64) / scale,
            measured=scan.measured,
            sampled=None,
            maps=maps,
            target=np.asarray(target[:, :, echo], dtype=np.complex64) / scale,
            scale=known.std,
            data_range=known.maximum[echo] / known.std,
            group=Group.SKM_TEA,
            field_strength_t=FIELD_STRENGTH_T,
            subject=(boxes.subject(name) if boxes else None) or name,
            file=name,
            index=x,
            echo=echo,
            boxes=boxes.plane_boxes(name, x) if boxes else (),
            label=boxes.plane_label(name, x) if boxes else None,
        )


def poisson_mask(path: Path, acceleration: int) -> Bool:
    """bool (ky, kz) on the padded grid: the mask of a test scan, the same for all its planes.

    Raises
    ------
    InvalidDataset
        LF-LAB-108 when the file brings no such mask; LF-LAB-103, 104 as `read_scan`.
    """
    with opened(path) as file:
        scan = _scan(file, path)
        if acceleration not in scan.accelerations:
            has = ", ".join(map(str, scan.accelerations)) or "none"
            raise InvalidDataset(
                "LF-LAB-108",
                f"{path.name} has no Poisson mask of acceleration {acceleration} (it has: {has})",
                "take a scan of the test split and one of the accelerations of its masks",
            )
        mask = np.asarray(file[_mask_name(acceleration)][()], dtype=bool)
    return padded(mask, scan.matrix[1:])
