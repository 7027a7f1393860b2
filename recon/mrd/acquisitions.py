"""Which acquisitions of an ISMRMRD file belong to which image, and which are refused.

Works on the heads alone; no samples are read here. Flag numbers and counters are those of the
ISMRMRD format (``ismrmrd.h``: flag n is bit n - 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.errors import InvalidRawData, UnsupportedAcquisition
from lfmri_node.recon.mrd.file import Rows
from lfmri_node.recon.mrd.header import Encoding, Header, Limit

Mask = NDArray[np.bool_]
ScanKey = tuple[int, int]
"""(contrast, repetition)."""


class Flag(IntEnum):
    """Acquisition flags that decide what a readout is used for."""

    NOISE_MEASUREMENT = 19
    PARALLEL_CALIBRATION = 20
    PARALLEL_CALIBRATION_AND_IMAGING = 21
    REVERSE = 22
    NAVIGATION_DATA = 23
    PHASECORR_DATA = 24
    HPFEEDBACK_DATA = 26
    DUMMYSCAN_DATA = 27
    RTFEEDBACK_DATA = 28
    SURFACECOILCORRECTIONSCAN_DATA = 29
    PHASE_STABILIZATION_REFERENCE = 30
    PHASE_STABILIZATION = 31
    COMPRESSION1 = 53
    COMPRESSION2 = 54
    COMPRESSION3 = 55
    COMPRESSION4 = 56


_SKIPPED = (
    Flag.NAVIGATION_DATA,
    Flag.PHASECORR_DATA,
    Flag.HPFEEDBACK_DATA,
    Flag.DUMMYSCAN_DATA,
    Flag.RTFEEDBACK_DATA,
    Flag.SURFACECOILCORRECTIONSCAN_DATA,
    Flag.PHASE_STABILIZATION_REFERENCE,
    Flag.PHASE_STABILIZATION,
)
_COMPRESSED = (Flag.COMPRESSION1, Flag.COMPRESSION2, Flag.COMPRESSION3, Flag.COMPRESSION4)


def flagged(heads: NDArray[Any], *flags: Flag) -> Mask:
    """bool (n,): acquisitions that carry any of ``flags``."""
    bits = sum(1 << (flag - 1) for flag in flags)
    return np.asarray((heads["flags"] & np.uint64(bits)) != 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionPlan:
    """The acquisitions of one measurement sorted by use.

    Parameters
    ----------
    imaging, calibration, noise
        Row numbers in the table, ascending. A row may be both imaging and calibration.
    encoding_ref
        Index of the encoding that the images belong to.
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
        LF-RAW-020 to LF-RAW-026: readable, and of a kind that the node refuses.
    InvalidRawData
        LF-RAW-006, 007, 010, 011, 019, 034: the heads contradict each other or the header.
    """
    used = ~flagged(heads, *_SKIPPED)
    noise = used & flagged(heads, Flag.NOISE_MEASUREMENT)
    used &= ~noise
    calibration = used & flagged(heads, Flag.PARALLEL_CALIBRATION, Flag.PARALLEL_CALIBRATION_AND_IMAGING)
    both = flagged(heads, Flag.PARALLEL_CALIBRATION_AND_IMAGING)
    imaging = used & (both | ~flagged(heads, Flag.PARALLEL_CALIBRATION))
    if not imaging.any():
        raise InvalidRawData("LF-RAW-019", "no acquisition holds image data", "export the whole measurement")
    ref, encoding = _encoding_of(heads[imaging], header)
    calibration &= _fits(heads, header, encoding)
    if encoding.calibration_mode == "embedded":
        imaging |= _embedded(heads, imaging, calibration)
    _refuse_unsupported(heads, imaging, encoding)
    _check_sizes(heads, imaging | calibration, encoding)
    three_dimensional = _is_three_dimensional(heads[imaging], encoding)
    idx = heads["idx"][imaging]
    _refuse_dimensions(idx, three_dimensional=three_dimensional)
    scans = sorted({(int(c), int(r)) for c, r in zip(idx["contrast"], idx["repetition"], strict=True)})
    return AcquisitionPlan(
        imaging=np.flatnonzero(imaging),
        calibration=np.flatnonzero(calibration),
        noise=np.flatnonzero(noise),
        encoding=encoding,
        encoding_ref=ref,
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


def _fits(heads: NDArray[Any], header: Header, encoding: Encoding) -> Mask:
    """bool (n,): acquisitions whose encoded space equals that of the images."""
    fitting = [i for i, other in enumerate(header.encodings) if other.encoded == encoding.encoded]
    return np.isin(heads["encoding_space_ref"], fitting)


_LINE_KEY = ("contrast", "repetition", "slice", "kspace_encode_step_1", "kspace_encode_step_2", "average")


def _line_keys(idx: NDArray[Any]) -> NDArray[np.int64]:
    return np.stack([idx[name].astype(np.int64) for name in _LINE_KEY], axis=1)


def _embedded(heads: NDArray[Any], imaging: Mask, calibration: Mask) -> Mask:
    """Calibration-only lines of an embedded calibration that no imaging line repeats."""
    extra = np.flatnonzero(calibration & ~imaging)
    taken = {tuple(key) for key in _line_keys(heads["idx"][imaging])}
    result = np.zeros(heads.shape, dtype=bool)
    result[
        [
            row
            for row, key in zip(extra, _line_keys(heads["idx"][extra]), strict=True)
            if tuple(key) not in taken
        ]
    ] = True
    return result


def _refuse_unsupported(heads: NDArray[Any], imaging: Mask, encoding: Encoding) -> None:
    cartesian = encoding.trajectory == "cartesian" or (
        encoding.trajectory is None and not heads["trajectory_dimensions"][imaging].any()
    )
    if not cartesian:
        raise UnsupportedAcquisition(
            "LF-RAW-021",
            f"trajectory {encoding.trajectory or 'with k-space coordinates'} is not Cartesian",
            "only Cartesian sampling is reconstructed; EPI must be regridded and written as Cartesian",
        )
    if flagged(heads[imaging], *_COMPRESSED).any():
        raise UnsupportedAcquisition(
            "LF-RAW-022", "the samples are compressed", "export the measurement without compression"
        )


def _check_sizes(heads: NDArray[Any], rows: Mask, encoding: Encoding) -> None:
    chosen = heads[rows]
    channels = np.unique(chosen["active_channels"])
    if channels.size > 1 or channels[0] == 0:
        raise InvalidRawData(
            "LF-RAW-007",
            f"the number of active channels changes within the measurement ({', '.join(map(str, channels))})",
            "export one coil configuration a file",
        )
    length = chosen["number_of_samples"].astype(int) - chosen["discard_pre"] - chosen["discard_post"]
    n_readout = encoding.encoded.matrix[0]
    if length.min() < 1 or length.max() > n_readout:
        raise InvalidRawData(
            "LF-RAW-010",
            f"readouts of {length.min()} to {length.max()} samples do not fit the encoded {n_readout}",
            "correct encodedSpace in the header",
        )
    if not np.isfinite(chosen["position"]).all():
        raise InvalidRawData("LF-RAW-034", "a slice position is not finite", "export the file again")


def _is_three_dimensional(heads: NDArray[Any], encoding: Encoding) -> bool:
    """Two phase-encode directions: used by a line, or promised by matrix and limits."""
    promised = encoding.encoded.matrix[2] > 1 and encoding.step_2 is not None and encoding.step_2.maximum > 0
    return promised or bool(heads["idx"]["kspace_encode_step_2"].any())


def _refuse_dimensions(idx: NDArray[Any], *, three_dimensional: bool) -> None:
    for code, name in (("LF-RAW-023", "set"), ("LF-RAW-024", "phase")):
        n_values = np.unique(idx[name]).size
        if n_values > 1:
            raise UnsupportedAcquisition(
                code, f"the measurement has {n_values} values of the counter '{name}'", "export one a file"
            )
    if three_dimensional and np.unique(idx["slice"]).size > 1:
        raise UnsupportedAcquisition("LF-RAW-025", "several 3-D slabs in one file", "export one slab a file")
    keys = _line_keys(idx)
    if np.unique(keys, axis=0).shape[0] != keys.shape[0]:
        raise UnsupportedAcquisition(
            "LF-RAW-026",
            "a line is recorded more than once without an average counter to tell the records apart",
            "number averages with the counter 'average' and echoes with 'contrast'",
        )


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
