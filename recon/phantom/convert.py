"""k-space arrays (npz) to ISMRMRD, with retrospective undersampling and the truth beside it.

Arrays of k-space without a header say nothing of the patient. The file written here therefore holds
assumptions, named in its protocol name and in ``userParameterString``: axial slices, rows of the
array running to posterior and columns to patient left, slices running from head to feet, the
spacing that `convert_npz` names, patient position HFS. Rows are taken as readout, columns as phase.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lfmri_node.recon.errors import InvalidRawData
from lfmri_node.recon.mrd.geometry import apply_display
from lfmri_node.recon.mrd.measurement import open_measurement
from lfmri_node.recon.mrd.write import ScanLayout, open_writer, write_measurement
from lfmri_node.recon.sense.coilmaps import estimate
from lfmri_node.recon.sense.fourier import ifft_axis
from lfmri_node.recon.sense.sampling import acceleration, random_lines
from lfmri_node.recon.types import Bool, Complex, KSpace, Real, SequenceInfo, Vector

_FULL = 0.95
"""Fraction of nonzero samples from which an array counts as fully sampled."""
_CENTRE_PER_ACCELERATION = 0.32
_ULTRA_LOW_FIELD_T = 0.055


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What was written.

    Parameters
    ----------
    path
        The ISMRMRD file.
    truth
        Fully sampled, coil-combined magnitude beside it: npz with ``truth`` f32 (s, y, x) in display
        order (``truth_1`` and so on for further contrasts); None for undersampled input.
    acceleration
        Points of the full grid over points written.
    """

    path: Path
    truth: Path | None
    acceleration: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Arrays brought to one form: k-space c64 (contrast, s, c, r, p), slices from feet to head."""

    kspace: Complex
    sequences: tuple[SequenceInfo, ...]
    voxel_mm: tuple[float, float]
    thickness_mm: float
    assumptions: Mapping[str, str]


def convert_npz(
    source: Path,
    out: Path,
    *,
    accel: float,
    seed: int,
    center_fraction: float | None = None,
    key: str | None = None,
) -> Conversion:
    """Convert one npz of k-space arrays.

    Known forms, by the names and axes of the arrays (k-space centred, orthonormal):

    - ``kspace`` (flip, coil, y, x) with ``flip_deg``: one contrast a flip angle. ``key`` is a flip
      angle such as ``"19"``, or ``"all"``; None takes the first. Assumed: 1 mm pixels, so a field of
      view of 224 mm for 224 pixels, and 5 mm thickness.
    - ``kspace`` (coil, y, x): one slice, the same assumptions. Undersampled arrays are written as
      they are, without truth, and ``accel`` and ``seed`` do nothing: lines where whole lines are
      missing, else a 3-D scan of one readout sample with ``kspace_encoding_step_1`` and ``_2``.
    - ``<name>`` (slice, readout, phase): one coil at 0.055 T. ``key`` names the array; None takes the
      first. Assumed: field of view 250 x 250 mm, 10 mm thickness without gap.

    Fully sampled arrays are undersampled by `sampling.random_lines` along the last axis.

    Parameters
    ----------
    accel
        Acceleration of the line mask; 1 writes every line.
    seed
        Of ``numpy.random.RandomState``, which draws the mask.
    center_fraction
        Fully sampled centre; None is ``0.32 / accel`` (fastMRI: 0.08 at 4x, 0.04 at 8x).

    Raises
    ------
    InvalidRawData
        LF-RAW-051 no npz of arrays, LF-RAW-052 arrays of another form, LF-RAW-053 ``key`` names none of
        them, LF-RAW-054 ``accel`` and ``center_fraction`` that no mask can have.
    """
    loaded = _load(_arrays(source), key, source.stem)
    present = np.asarray((loaded.kspace != 0).any(axis=(0, 1, 2)))
    if present.mean() < _FULL:
        written = _write_undersampled(out, loaded, present)
        return Conversion(path=out, truth=None, acceleration=acceleration(written))
    fraction = min(_CENTRE_PER_ACCELERATION / accel, 1.0) if center_fraction is None else center_fraction
    try:
        lines = random_lines(loaded.kspace.shape[-1], accel, fraction, np.random.RandomState(seed))
    except (ValueError, ZeroDivisionError) as error:
        raise InvalidRawData(
            "LF-RAW-054",
            f"no mask of {loaded.kspace.shape[-1]} lines has this acceleration and this centre",
            "give an acceleration from 1 and a centre that is smaller than one part in that many",
        ) from error
    _write_lines(out, loaded, lines)
    truth = out.with_name(out.stem + ".truth.npz")
    _write_truth(truth, out, loaded)
    return Conversion(path=out, truth=truth, acceleration=acceleration(lines))


def _arrays(source: Path) -> dict[str, np.ndarray]:
    try:
        loaded = np.load(source)
        if not isinstance(loaded, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with loaded as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise InvalidRawData(
            "LF-RAW-051", "the input is no npz file of arrays", "write the arrays with numpy.savez"
        ) from error


def _other_form(what: str) -> InvalidRawData:
    return InvalidRawData("LF-RAW-052", what, "see `lfmri-node convert --help` and recon/phantom/convert.py")


def _no_such_key(what: str) -> InvalidRawData:
    return InvalidRawData("LF-RAW-053", what, "give --key one of these, or leave it out")


def _load(arrays: dict[str, np.ndarray], key: str | None, name: str) -> _Source:
    kspace = arrays.get("kspace")
    if kspace is None:
        return _load_slices(arrays, key, name)
    if kspace.ndim == 3 and key is not None:
        raise _no_such_key("'kspace' is one slice and has no parts")
    if kspace.ndim == 3:
        return _single_slice(kspace[None], (SequenceInfo(protocol=_protocol(name, "1 mm")),))
    if kspace.ndim != 4 or "flip_deg" not in arrays:
        raise _other_form(f"'kspace' of shape {kspace.shape} is of no known form")
    flips = [float(angle) for angle in arrays["flip_deg"]]
    chosen = list(range(len(flips)))
    if key != "all":
        chosen = [i for i in chosen if key is None or f"{flips[i]:g}" == key][:1]
    if not chosen:
        raise _no_such_key(f"there are the flip angles {', '.join(f'{angle:g}' for angle in flips)}")
    sequences = tuple(SequenceInfo(protocol=_protocol(name, "1 mm"), flip_angle_deg=flips[i]) for i in chosen)
    return _single_slice(kspace[chosen], sequences)


def _single_slice(kspace: np.ndarray, sequences: tuple[SequenceInfo, ...]) -> _Source:
    return _Source(
        kspace=np.asarray(kspace[:, None], dtype=np.complex64),
        sequences=sequences,
        voxel_mm=(1.0, 1.0),
        thickness_mm=5.0,
        assumptions={"assumedFieldOfView": "1 mm pixels, 5 mm thickness: not stated by the source"},
    )


def _load_slices(arrays: dict[str, np.ndarray], key: str | None, name: str) -> _Source:
    names = [n for n, a in arrays.items() if a.ndim == 3 and np.iscomplexobj(a)]
    if not names:
        raise _other_form("there is no k-space: no 'kspace', and no complex array (slice, readout, phase)")
    chosen = names[0] if key is None else key
    if chosen not in names:
        raise _no_such_key(f"there are the arrays {', '.join(names)}")
    kspace = arrays[chosen][::-1]  # stored from head to feet
    _, n_r, n_p = kspace.shape
    protocol = _protocol(f"{name} {chosen}", "250 mm")
    return _Source(
        kspace=np.asarray(kspace[None, :, None], dtype=np.complex64),
        sequences=(SequenceInfo(protocol=protocol, field_strength_t=_ULTRA_LOW_FIELD_T),),
        voxel_mm=(250.0 / n_r, 250.0 / n_p),
        thickness_mm=10.0,
        assumptions={"assumedFieldOfView": "250 x 250 mm, 10 mm thickness: not stated by the source"},
    )


def _protocol(name: str, scale: str) -> str:
    """At most 64 characters, the limit of DICOM's LO."""
    return f"{name[:32]}, assumed axial, {scale}"


def _layout(source: _Source) -> ScanLayout:
    _, n_slices, n_coils, n_r, n_p = source.kspace.shape
    field_of_view: Vector = (n_r * source.voxel_mm[0], n_p * source.voxel_mm[1], source.thickness_mm)
    return ScanLayout(
        matrix=(n_r, n_p, 1),
        field_of_view_mm=field_of_view,
        n_coils=n_coils,
        positions_mm=tuple((0.0, 0.0, s * source.thickness_mm) for s in range(n_slices)),
        read_dir=(0.0, 1.0, 0.0),
        phase_dir=(1.0, 0.0, 0.0),
        slice_dir=(0.0, 0.0, -1.0),
        sequences=source.sequences,
        notes={**source.assumptions, "assumedOrientation": "axial, rows to posterior, columns to left"},
    )


def _write_lines(out: Path, source: _Source, lines: Bool) -> None:
    step_1 = np.flatnonzero(lines)
    with open_writer(out, _layout(source)) as writer:
        for contrast, volume in enumerate(source.kspace):
            for s, plane in enumerate(volume):
                readouts = plane[:, :, step_1].transpose(2, 0, 1)
                writer.lines(readouts, step_1, slice_counter=s, contrast=contrast)


def _write_undersampled(out: Path, source: _Source, present: Bool) -> Bool:
    """Write what is there; returns the mask written, over lines or over points."""
    lines = np.asarray(present.any(axis=0))
    if (present == lines).all():
        _write_lines(out, source, lines)
        return lines
    _, n_slices, n_coils, n_r, n_p = source.kspace.shape
    if n_slices * source.kspace.shape[0] > 1:
        raise _other_form("an array sampled point by point must hold one slice")
    (x, y, thickness) = _layout(source).field_of_view_mm
    layout = ScanLayout(
        matrix=(1, n_r, n_p),
        field_of_view_mm=(thickness, x, y),
        n_coils=n_coils,
        three_dimensional=True,
        read_dir=(0.0, 0.0, -1.0),
        phase_dir=(0.0, 1.0, 0.0),
        slice_dir=(1.0, 0.0, 0.0),
        sequences=source.sequences,
        notes={**_layout(source).notes, "readout": "one sample: the source is a single plane"},
    )
    write_measurement(out, source.kspace[0], present, layout)
    return present


def _write_truth(path: Path, converted: Path, source: _Source) -> None:
    truths: dict[str, Real] = {}
    with open_measurement(converted, sha256="0" * 64) as measurement:
        for contrast, _ in measurement.scans:
            display = measurement.scan(contrast).display
            combined = np.stack([_combine(plane) for plane in source.kspace[contrast]])
            truths["truth" if contrast == 0 else f"truth_{contrast}"] = apply_display(combined, display)
    np.savez(path, allow_pickle=False, **truths)


def _combine(kspace: Complex) -> Real:
    """Magnitude f32 (r, p) of fully sampled k-space (c, r, p), combined with maps of all of it."""
    maps = estimate(KSpace(data=kspace, sampled=np.ones(kspace.shape[2], dtype=bool))).maps
    images = ifft_axis(ifft_axis(kspace, -1), -2)
    return np.asarray(np.abs((maps.conj() * images).sum(axis=0)), dtype=np.float32)
