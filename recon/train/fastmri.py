"""fastMRI knee, multi-coil: HDF5 volumes, their header, splits and masks; one slice in memory at a time.

Format: Zbontar et al., fastMRI, arXiv 1811.08839; Knoll et al., Radiol. Artif. Intell. 2(1) e190007,
2020. K-space is c64 (slice, coil, readout, phase), readout twice oversampled, zero-padded along the
phase axis; the target is the root sum of squares of the central voxels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from lfmri_node.recon.errors import InvalidDataset
from lfmri_node.recon.mrd.header import Encoding, parse_header
from lfmri_node.recon.sense.fourier import fit_axis, ifft_axis
from lfmri_node.recon.sense.sampling import (
    equispaced_fraction_lines,
    equispaced_lines,
    random_lines,
    rng_of_file,
)
from lfmri_node.recon.train.fastmri_plus import FastMriPlus
from lfmri_node.recon.train.hdf5 import dataset, malformed, opened
from lfmri_node.recon.train.real import Group, RealSlice
from lfmri_node.recon.types import Bool, Complex, Real


class Split(StrEnum):
    """Published splits; each is a folder ``multicoil_<value>``."""

    TRAIN = "train"
    VALIDATION = "val"
    TEST = "test"

    @property
    def folder(self) -> str:
        return f"multicoil_{self.value}"


PUBLISHED = {Split.TRAIN: 973, Split.VALIDATION: 199, Split.TEST: 118}
"""Volumes of each split."""

CENTRE_FRACTION = {4: 0.08, 8: 0.04}
"""Fully sampled share of the columns, by acceleration."""


class MaskKind(StrEnum):
    """How the lines outside the centre are drawn."""

    RANDOM = "random"
    EQUISPACED = "equispaced"
    EQUISPACED_FRACTION = "equispaced-fraction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What a file says of itself; no samples.

    Parameters
    ----------
    shape
        (s, c, r, p) of the k-space.
    image_shape
        (y, x) of the target; where the file has none, the matrix of the header's ``reconSpace``, at most
        that of the k-space.
    columns
        Half-open range of the measured columns; the others are zero padding.
    acquisition
        Attribute of the file, for example ``CORPD_FBK``.
    data_range
        Largest magnitude of the target volume (attribute ``max``); None in a test file.
    mask
        bool (p,) of a test file, inside ``columns``; None where the volume is fully sampled.
    acceleration, n_centre
        Attributes ``acceleration`` and ``num_low_frequency`` of a test file.
    """

    path: Path
    shape: tuple[int, int, int, int]
    image_shape: tuple[int, int]
    columns: tuple[int, int]
    acquisition: str
    group: Group
    field_strength_t: float | None
    data_range: float | None
    mask: Bool | None
    acceleration: float | None
    n_centre: int | None
    has_target: bool
    subject: str = field(repr=False)

    @property
    def measured(self) -> Bool:
        """bool (p,): the columns that were measured."""
        lines = np.zeros(self.shape[3], dtype=bool)
        lines[slice(*self.columns)] = True
        return lines


def files(folder: Path, split: Split) -> tuple[Path, ...]:
    """Files of a split in ``folder/multicoil_<split>``, by name; empty where there is no such folder."""
    return tuple(sorted((folder / split.folder).glob("*.h5")))


def read_volume(path: Path) -> Volume:
    """Header and attributes of a file.

    Raises
    ------
    InvalidDataset
        LF-LAB-103, 104: no HDF5 file, or of another layout (single-coil files have one axis less);
        LF-LAB-105: the header has no usable limits; LF-LAB-107: not a knee acquisition.
    InvalidRawData
        LF-RAW-003, LF-RAW-004: the XML header cannot be parsed or lacks a field.
    """
    with opened(path) as file:
        return _volume(file, path)


def _volume(file: h5py.File, path: Path) -> Volume:
    n_s, n_c, n_r, n_p = dataset(file, "kspace", 4).shape
    header = parse_header(_xml(file))
    encoding = header.encodings[0]
    if n_r != encoding.encoded.matrix[0]:
        raise malformed(file, f"has {n_r} rows for a readout of {encoding.encoded.matrix[0]}: swapped axes?")
    columns = _columns(encoding, n_p, path)
    recon_x, recon_y, _ = encoding.recon.matrix
    acquisition = _text(file.attrs.get("acquisition", ""))
    image_shape = (min(recon_x, n_r), min(recon_y, n_p))
    if has_target := "reconstruction_rss" in file:
        n_images, n_y, n_x = dataset(file, "reconstruction_rss", 3).shape
        image_shape = (n_y, n_x)
        if n_images != n_s:
            raise malformed(file, f"has {n_images} target images for {n_s} slices")
    mask = None
    if "mask" in file:
        mask = np.asarray(dataset(file, "mask", 1)[()], dtype=bool)
        if mask.shape != (n_p,):
            raise malformed(file, f"has a mask of {mask.size} columns for {n_p}")
        mask[: columns[0]] = mask[columns[1] :] = False
    return Volume(
        path=path,
        shape=(n_s, n_c, n_r, n_p),
        image_shape=image_shape,
        columns=columns,
        acquisition=acquisition,
        group=_group(acquisition, path),
        field_strength_t=header.sequence.field_strength_t,
        data_range=_number(file.attrs.get("max")),
        mask=mask,
        acceleration=_number(file.attrs.get("acceleration")),
        n_centre=None if "num_low_frequency" not in file.attrs else int(file.attrs["num_low_frequency"]),
        has_target=has_target,
        subject=_text(file.attrs.get("patient_id", "")) or path.stem,
    )


def _xml(file: h5py.File) -> bytes:
    found = dataset(file, "ismrmrd_header", 0)[()]
    return found.encode() if isinstance(found, str) else bytes(found)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _columns(encoding: Encoding, n_p: int, path: Path) -> tuple[int, int]:
    """``left = W // 2 - center``, ``right = left + maximum + 1`` of the header's phase-encode limits."""
    limit = encoding.step_1
    left = right = -1
    if limit is not None:
        left = encoding.encoded.matrix[1] // 2 - limit.center
        right = left + limit.maximum + 1
    if not 0 <= left < right <= n_p:
        raise InvalidDataset(
            "LF-LAB-105",
            f"{path.name}: the phase-encode limits of the header do not lie within {n_p} columns",
            "download the file again, or leave it out",
        )
    return left, right


def _group(acquisition: str, path: Path) -> Group:
    """Fat suppression from the acquisition; ``CORPDFS_FBKREPEAT`` is a repeated ``CORPDFS_FBK``."""
    name = acquisition.removesuffix("REPEAT")
    if name == "CORPD_FBK":
        return Group.PD
    if name == "CORPDFS_FBK":
        return Group.PDFS
    raise InvalidDataset(
        "LF-LAB-107",
        f"{path.name} is of acquisition {acquisition or 'unknown'!r}",
        "only the knee volumes CORPD_FBK and CORPDFS_FBK are read",
    )


def slices(
    path: Path, *, labels: FastMriPlus | None = None, which: Iterable[int] | None = None
) -> Iterator[RealSlice]:
    """Slices of a file in order, each read when it is asked for.

    Parameters
    ----------
    labels
        fastMRI+ annotations; without them no slice has a label or box.
    which
        Indices to read; all by default.
    """
    with opened(path) as file:
        volume = _volume(file, path)
        for index in range(volume.shape[0]) if which is None else which:
            yield _slice(file, volume, index, labels)


def read_slice(volume: Volume, index: int, *, labels: FastMriPlus | None = None) -> RealSlice:
    """One slice of a volume whose header is known: for random access by a loader."""
    with opened(volume.path) as file:
        return _slice(file, volume, index, labels)


def _slice(file: h5py.File, volume: Volume, index: int, labels: FastMriPlus | None) -> RealSlice:
    kspace = np.asarray(file["kspace"][index], dtype=np.complex64)
    target: Real | None = None
    if volume.has_target:
        target = np.asarray(file["reconstruction_rss"][index], dtype=np.float32)
    elif volume.mask is None:
        target = root_sum_of_squares(kspace, volume.image_shape)
    name = volume.path.stem
    return RealSlice(
        kspace=kspace,
        measured=volume.measured,
        sampled=volume.mask,
        maps=None,
        target=target,
        scale=1.0,
        data_range=volume.data_range,
        group=volume.group,
        field_strength_t=volume.field_strength_t,
        subject=volume.subject,
        file=name,
        index=index,
        echo=0,
        boxes=labels.boxes(name, index, volume.image_shape) if labels else (),
        label=labels.slice_label(name, index) if labels else None,
    )


def root_sum_of_squares(kspace: Complex, shape: tuple[int, int]) -> Real:
    """f32 ``shape``: centre of the coils' magnitude images, combined. ``kspace`` c64 (c, r, p)."""
    image = fit_axis(ifft_axis(kspace, -2), -2, shape[0])
    image = fit_axis(ifft_axis(image, -1), -1, shape[1])
    return np.asarray(np.sqrt((np.abs(image) ** 2).sum(0)), dtype=np.float32)


def line_mask(volume: Volume, kind: MaskKind, acceleration: int) -> Bool:
    """bool (p,): the mask of a volume, the same for all its slices and for everybody.

    Drawn over all columns from a generator seeded by the file name, then cut to the measured columns,
    as the fastMRI code does; so the acceleration over the measured columns is a little higher or lower.

    Raises
    ------
    InvalidDataset
        LF-LAB-108 for an acceleration without a published centre fraction.
    """
    fraction = CENTRE_FRACTION.get(acceleration)
    if fraction is None:
        raise InvalidDataset(
            "LF-LAB-108", f"fastMRI has no mask of acceleration {acceleration}", "use 4 or 8"
        )
    draw = {
        MaskKind.RANDOM: random_lines,
        MaskKind.EQUISPACED: equispaced_lines,
        MaskKind.EQUISPACED_FRACTION: equispaced_fraction_lines,
    }[kind]
    lines = draw(volume.shape[3], acceleration, fraction, rng_of_file(volume.path.name))
    return lines & volume.measured
