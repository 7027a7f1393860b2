"""Which acquisitions of an ISMRMRD file belong to which image, and which are refused.

Works on the heads alone; no samples are read here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData, UnsupportedAcquisition
from lfmri_node.recon.mrd.file import Rows
from lfmri_node.recon.mrd.header import Encoding, Header, Limit
from lfmri_node.recon.mrd.heads import Flag, Mask, flagged, line_keys
from lfmri_node.recon.mrd.refusals import (
    check_channels,
    check_places,
    check_sizes,
    refuse_dimensions,
    refuse_unsupported,
)

ScanKey = tuple[int, int]
"""(contrast, repetition)."""

_SKIPPED = (
    Flag.NAVIGATION_DATA,
    Flag.PHASECORR_DATA,
    Flag.HPFEEDBACK_DATA,
    Flag.DUMMYSCAN_DATA,
    Flag.RTFEEDBACK_DATA,
    Flag.PHASE_STABILIZATION_REFERENCE,
    Flag.PHASE_STABILIZATION,
)
_SAME_FIELD = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionPlan:
    """The acquisitions of one measurement sorted by use.

    Parameters
    ----------
    imaging, calibration, noise
        Row numbers in the table, ascending. A row may be both imaging and calibration.
    encoding_ref
        Index of the encoding that the images belong to.
    unfit_references
        Other encodings with calibration lines that do not fit the grid of the images.
    scans
        (contrast, repetition) pairs with images, sorted.
    slices
        Values of the slice counter, sorted.
    """

    imaging: Rows
    calibration: Rows
    noise: Rows
    encoding: Encoding
    encoding_ref: int
    unfit_references: tuple[int, ...]
    scans: tuple[ScanKey, ...]
    slices: tuple[int, ...]
    n_channels: int
    n_averages: int
    three_dimensional: bool


def plan_acquisitions(heads: NDArray[Any], header: Header) -> AcquisitionPlan:
    """Sort acquisitions by use and check that together they are a Cartesian measurement.

    Raises
    ------
    UnsupportedAcquisition
        LF-RAW-020 to LF-RAW-029, LF-RAW-035: readable, and of a kind that the node refuses.
    InvalidRawData
        LF-RAW-006, 007, 010, 011, 019, 034: the heads contradict each other or the header.
    """
    noise = flagged(heads, Flag.NOISE_MEASUREMENT)
    used = ~flagged(heads, *_SKIPPED) & ~noise
    used &= ~_correction_scan(heads, used)
    calibration = used & flagged(heads, Flag.PARALLEL_CALIBRATION, Flag.PARALLEL_CALIBRATION_AND_IMAGING)
    both = flagged(heads, Flag.PARALLEL_CALIBRATION_AND_IMAGING)
    imaging = used & (both | ~flagged(heads, Flag.PARALLEL_CALIBRATION))
    if not imaging.any():
        raise InvalidRawData("LF-RAW-019", "no acquisition holds image data", "export the whole measurement")
    ref, encoding = _encoding_of(heads[imaging], header)
    fitting = calibration & _fits(heads, header, encoding)
    unfit = tuple(np.unique(heads["encoding_space_ref"][calibration & ~fitting]).tolist())
    calibration = fitting
    if encoding.calibration_mode == "embedded":
        imaging |= _embedded(heads, imaging, calibration)
    refuse_unsupported(heads, imaging, encoding, header.b_values)
    check_channels(heads, imaging | calibration | noise)
    check_sizes(heads, imaging, calibration, encoding)
    check_places(heads[imaging | calibration])
    three_dimensional = _is_three_dimensional(heads[imaging], encoding)
    idx = heads["idx"][imaging]
    refuse_dimensions(idx, three_dimensional=three_dimensional)
    scans = sorted({(int(c), int(r)) for c, r in zip(idx["contrast"], idx["repetition"], strict=True)})
    return AcquisitionPlan(
        imaging=np.flatnonzero(imaging),
        calibration=np.flatnonzero(calibration),
        noise=np.flatnonzero(noise),
        encoding=encoding,
        encoding_ref=ref,
        unfit_references=unfit,
        scans=tuple(scans),
        slices=_slices(idx, scans, encoding.slice),
        n_channels=int(heads["active_channels"][imaging][0]),
        n_averages=int(np.unique(idx["average"]).size),
        three_dimensional=three_dimensional,
    )


def rows_of(heads: NDArray[Any], rows: Rows, scan: ScanKey, slice_counter: int | None = None) -> Rows:
    """Those of ``rows`` that belong to one scan, and to one slice where asked for."""
    idx = heads["idx"][rows]
    keep = (idx["contrast"] == scan[0]) & (idx["repetition"] == scan[1])
    if slice_counter is not None:
        keep &= idx["slice"] == slice_counter
    return np.asarray(rows[keep])


def calibration_rows_of(
    heads: NDArray[Any], rows: Rows, scan: ScanKey, slice_counter: int | None = None
) -> Rows:
    """Calibration rows for one scan: its own, else those nearest by contrast, then by repetition.

    [our reading] Scanners acquire reference lines once and use them for all repetitions.
    """
    idx = heads["idx"][rows]
    if slice_counter is not None:
        rows, idx = rows[idx["slice"] == slice_counter], idx[idx["slice"] == slice_counter]
    present = {(int(c), int(r)) for c, r in zip(idx["contrast"], idx["repetition"], strict=True)}
    if not present:
        return rows
    nearest = min(present, key=lambda key: (key[0] != scan[0], key[1] != scan[1], key))
    return rows_of(heads, rows, nearest)


def _encoding_of(heads: NDArray[Any], header: Header) -> tuple[int, Encoding]:
    refs = np.unique(heads["encoding_space_ref"])
    if refs.size > 1:
        raise UnsupportedAcquisition(
            "LF-RAW-020",
            f"images in {refs.size} encodings (encoding_space_ref {', '.join(map(str, refs))})",
            "export one encoding a file",
        )
    ref = int(refs[0])
    if ref >= len(header.encodings):
        raise InvalidRawData(
            "LF-RAW-006",
            f"encoding_space_ref {ref} has no encoding in the header, which holds {len(header.encodings)}",
            "correct the converter that wrote the file",
        )
    return ref, header.encodings[ref]


def _correction_scan(heads: NDArray[Any], used: Mask) -> Mask:
    """bool (n,): lines of a surface coil correction scan, which are no image.

    The flag alone does not say it: converters leave it on ordinary lines. Flagged lines are lines of
    the image where they have its encoding and size and none is there twice or without the flag.
    [our reading]
    """
    marked = used & flagged(heads, Flag.SURFACECOILCORRECTIONSCAN_DATA)
    if not marked.any() or not (used & ~marked).any():
        return np.zeros_like(marked)
    references = flagged(heads, Flag.PARALLEL_CALIBRATION)
    image, added = used & ~marked & ~references, marked & ~references
    alike = ("encoding_space_ref", "number_of_samples", "active_channels")
    same_size = all(np.unique(heads[name][image | added]).size == 1 for name in alike)
    keys = line_keys(heads["idx"][image | added])
    own_lines = same_size and np.unique(keys, axis=0).shape[0] == keys.shape[0]
    return np.zeros_like(marked) if own_lines else marked


def _fits(heads: NDArray[Any], header: Header, encoding: Encoding) -> Mask:
    """bool (n,): acquisitions whose encoded space has the field of view of the images, and no more points.

    Equal fields of view have equal steps in k-space: the lines of a smaller matrix lie on the same grid.
    """
    own = encoding.encoded
    fitting = [
        i
        for i, other in enumerate(header.encodings)
        if np.allclose(other.encoded.field_of_view_mm[:2], own.field_of_view_mm[:2], rtol=_SAME_FIELD)
        and all(n <= m for n, m in zip(other.encoded.matrix, own.matrix, strict=True))
        and (
            own.matrix[2] == 1
            or np.isclose(other.encoded.field_of_view_mm[2], own.field_of_view_mm[2], rtol=_SAME_FIELD)
        )
    ]
    return np.isin(heads["encoding_space_ref"], fitting)


def _embedded(heads: NDArray[Any], imaging: Mask, calibration: Mask) -> Mask:
    """Calibration-only lines of an embedded calibration that no imaging line repeats."""
    extra = np.flatnonzero(calibration & ~imaging)
    taken = {tuple(key) for key in line_keys(heads["idx"][imaging])}
    result = np.zeros(heads.shape, dtype=bool)
    result[
        [
            row
            for row, key in zip(extra, line_keys(heads["idx"][extra]), strict=True)
            if tuple(key) not in taken
        ]
    ] = True
    return result


def _is_three_dimensional(heads: NDArray[Any], encoding: Encoding) -> bool:
    """Two phase-encode directions: used by a line, or promised by matrix and limits."""
    promised = encoding.encoded.matrix[2] > 1 and encoding.step_2 is not None and encoding.step_2.maximum > 0
    return promised or bool(heads["idx"]["kspace_encode_step_2"].any())


def _slices(idx: NDArray[Any], scans: list[ScanKey], limit: Limit | None) -> tuple[int, ...]:
    slices = np.unique(idx["slice"])
    expected = 0 if limit is None else limit.maximum - limit.minimum + 1
    for contrast, repetition in scans:
        chosen = (idx["contrast"] == contrast) & (idx["repetition"] == repetition)
        present = np.unique(idx["slice"][chosen]).size
        if present < max(slices.size, expected):
            raise InvalidRawData(
                "LF-RAW-011",
                f"contrast {contrast}, repetition {repetition} has lines of {present} slices,"
                f" not of {max(slices.size, expected)}",
                "export the whole measurement; a scan that was stopped early is not reconstructed",
            )
    return tuple(int(s) for s in slices)
