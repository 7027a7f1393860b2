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
    Flag.PHASE_STABILIZATION_REFERENCE,
    Flag.PHASE_STABILIZATION,
)
_TRAJECTORIES = ("epi", "radial", "goldenangle", "spiral", "other")
_SAME_FIELD = 1e-3
_SHORT_ON_BOTH_SIDES = 16
"""Part (one in so many) of the readout that may be missing on both sides of the echo."""
_FARTHEST_MM, _TABLE_TOLERANCE_MM = 2000.0, 0.05
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
    _refuse_unsupported(heads, imaging, encoding, header.b_values)
    _check_channels(heads, imaging | calibration | noise)
    _check_sizes(heads, imaging, calibration, encoding)
    _check_places(heads[imaging | calibration])
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
    keys = _line_keys(heads["idx"][image | added])
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


def _refuse_unsupported(
    heads: NDArray[Any], imaging: Mask, encoding: Encoding, b_values: tuple[float, ...]
) -> None:
    """Refuse by name what changes the meaning of the samples and is not reconstructed."""
    cartesian = encoding.trajectory == "cartesian" or (
        encoding.trajectory is None and not heads["trajectory_dimensions"][imaging].any()
    )
    if not cartesian:
        name = encoding.trajectory if encoding.trajectory in _TRAJECTORIES else "of another kind"
        raise UnsupportedAcquisition(
            "LF-RAW-021",
            f"trajectory {name if encoding.trajectory else 'with k-space coordinates'} is not Cartesian",
            "only Cartesian sampling is reconstructed; EPI must be regridded and written as Cartesian",
        )
    if encoding.described:
        raise UnsupportedAcquisition(
            "LF-RAW-028",
            "a trajectoryDescription says that the samples do not lie on the Cartesian grid as they are",
            "regrid the samples, and write them without trajectoryDescription",
        )
    if encoding.multiband_factor > 1:
        raise UnsupportedAcquisition(
            "LF-RAW-027",
            f"multiband factor {encoding.multiband_factor}: every sample is the sum of several slices",
            "acquire single-band, or separate the slices first",
        )
    if any(value > 0 for value in b_values):
        raise UnsupportedAcquisition(
            "LF-RAW-029", "the measurement is diffusion-weighted", "diffusion is not reconstructed"
        )
    if flagged(heads[imaging], *_COMPRESSED).any():
        raise UnsupportedAcquisition(
            "LF-RAW-022", "the samples are compressed", "export the measurement without compression"
        )


def _check_channels(heads: NDArray[Any], rows: Mask) -> None:
    """One coil configuration: noise, calibration and images must come from the same channels."""
    image = rows & ~flagged(heads, Flag.NOISE_MEASUREMENT)
    channels = np.unique(heads["active_channels"][image])
    if channels.size > 1 or channels[0] == 0:
        raise InvalidRawData(
            "LF-RAW-007",
            f"the number of active channels changes within the measurement ({', '.join(map(str, channels))})",
            "export one coil configuration a file",
        )
    if "channel_mask" not in (heads.dtype.names or ()):
        return
    masks = heads["channel_mask"][rows]
    named = masks[masks.any(axis=1)]  # old converters leave the mask at zero
    if (named != named[:1]).any():
        raise InvalidRawData(
            "LF-RAW-007",
            "other channels are active in a part of the measurement (channel_mask)",
            "export one coil configuration a file",
        )


def _check_sizes(heads: NDArray[Any], imaging: Mask, calibration: Mask, encoding: Encoding) -> None:
    """Readouts fit the encoded matrix, and those of the image reach one end of it at least."""
    n_readout = encoding.encoded.matrix[0]
    length = readout_span(heads[imaging | calibration]).sum(axis=1)
    if length.min() < 1 or length.max() > n_readout:
        raise InvalidRawData(
            "LF-RAW-010",
            f"readouts of {length.min()} to {length.max()} samples do not fit the encoded {n_readout}",
            "correct encodedSpace in the header",
        )
    room = np.array([n_readout // 2, n_readout - n_readout // 2])
    missing = (room - readout_span(heads[imaging])).min(axis=1).max()
    if missing > max(1, n_readout // _SHORT_ON_BOTH_SIDES):
        raise InvalidRawData(
            "LF-RAW-010",
            f"readouts miss {missing} samples or more on both sides of the echo of the encoded {n_readout}:"
            " head and header contradict each other",
            "correct encodedSpace: it may still count oversampling that was removed",
        )


def readout_span(heads: NDArray[Any]) -> NDArray[np.int64]:
    """i64 (n, 2): samples before the echo and from it on, in order of k, discarded ones left out."""
    n_samples, turned = heads["number_of_samples"].astype(np.int64), flagged(heads, Flag.REVERSE)
    center = heads["center_sample"].astype(np.int64)
    center = np.where(center == 0, n_samples // 2, center)
    before = center - heads["discard_pre"]
    after = n_samples - center - heads["discard_post"]
    # turned, the sample of the echo itself changes sides
    return np.where(
        turned[:, None], np.stack([after - 1, before + 1], axis=1), np.stack([before, after], axis=1)
    )


def _check_places(heads: NDArray[Any]) -> None:
    position = heads["position"]
    if not np.isfinite(position).all() or np.abs(position).max() > _FARTHEST_MM:
        raise InvalidRawData(
            "LF-RAW-034",
            "a slice position is not finite or more than 2 m away",
            "export the file again, with positions in mm",
        )
    if "patient_table_position" in (heads.dtype.names or ()):
        table = heads["patient_table_position"].astype(np.float64)
        if not np.abs(table - table[:1]).max() <= _TABLE_TOLERANCE_MM:
            raise UnsupportedAcquisition(
                "LF-RAW-035",
                "the table moves during the measurement",
                "send the measurement at each table position separately",
            )


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
