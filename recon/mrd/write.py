"""Writing ISMRMRD files: converted measurements, simulated scans, test files.

Header classes and table layout are those of the public ``ismrmrd`` package; the rows are written in
bulk, one call a block of lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ismrmrd import xsd
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype
from numpy.typing import NDArray

from lfmri_node.recon.mrd.heads import Flag
from lfmri_node.recon.sense.fourier import fft_axis, fit_axis, ifft_axis
from lfmri_node.recon.types import Bool, Complex, ScanIdentity, SequenceInfo, Vector

_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanLayout:
    """What header and heads say of a Cartesian measurement.

    Parameters
    ----------
    matrix
        (readout, phase, partition) without readout oversampling; partition is 1 for 2-D slices.
    field_of_view_mm
        Of ``matrix``; for 2-D slices the third number is the slice thickness.
    n_coils
        Receive channels.
    three_dimensional
        Two phase-encode directions instead of slices.
    positions_mm
        LPS centre of each slice, or of the slab. None: one slice at the origin.
    read_dir, phase_dir, slice_dir
        LPS unit vectors of increasing index.
    readout_oversampling
        Factor by which readouts are longer than ``matrix``.
    recon_matrix, recon_field_of_view_mm
        ``reconSpace``; None is ``matrix`` and ``field_of_view_mm``.
    sequences
        One a contrast.
    sample_time_us
        Dwell time of the oversampled readout.
    notes
        Written as ``userParameterString``: what a reader of the file should know.
    """

    matrix: tuple[int, int, int]
    field_of_view_mm: Vector
    n_coils: int
    three_dimensional: bool = False
    positions_mm: tuple[Vector, ...] = ((0.0, 0.0, 0.0),)
    read_dir: Vector = (1.0, 0.0, 0.0)
    phase_dir: Vector = (0.0, 1.0, 0.0)
    slice_dir: Vector = (0.0, 0.0, 1.0)
    readout_oversampling: int = 1
    recon_matrix: tuple[int, int, int] | None = None
    recon_field_of_view_mm: Vector | None = None
    sequences: tuple[SequenceInfo, ...] = (SequenceInfo(),)
    identity: ScanIdentity = field(default_factory=ScanIdentity)
    sample_time_us: float = 5.0
    notes: Mapping[str, str] = field(default_factory=dict)


class MeasurementWriter:
    """Adds acquisitions to an ISMRMRD file; made by `open_writer`."""

    def __init__(self, table: h5py.Dataset, layout: ScanLayout) -> None:
        self._table = table
        self._layout = layout

    def noise(self, samples: Complex, *, sample_time_us: float | None = None) -> None:
        """One noise measurement, c64 (c, n)."""
        heads = self._heads(1, samples.shape[1])
        heads["flags"] = _bits(Flag.NOISE_MEASUREMENT)
        if sample_time_us is not None:
            heads["sample_time_us"] = sample_time_us
        self._append(heads, samples[None])

    def lines(
        self,
        kspace: Complex,
        step_1: NDArray[Any],
        *,
        step_2: NDArray[Any] | None = None,
        slice_counter: int = 0,
        contrast: int = 0,
        repetition: int = 0,
        average: int = 0,
        flags: tuple[Flag, ...] = (),
    ) -> None:
        """Readouts c64 (lines, c, readout) with their line counters, in the order given.

        ``kspace`` has the ``matrix`` readout length; oversampling is added here by padding the
        image with zeros along readout.
        """
        if len(step_1) == 0:
            return
        n_readout = self._layout.matrix[0] * self._layout.readout_oversampling
        if n_readout != kspace.shape[-1]:
            kspace = fft_axis(fit_axis(ifft_axis(kspace, -1), -1, n_readout), -1)
        heads = self._heads(len(step_1), n_readout)
        heads["center_sample"] = n_readout // 2
        heads["position"] = self._layout.positions_mm[slice_counter]
        heads["flags"] = _bits(*flags)
        counters = {
            "kspace_encode_step_1": step_1,
            "kspace_encode_step_2": 0 if step_2 is None else step_2,
            "slice": slice_counter,
            "contrast": contrast,
            "repetition": repetition,
            "average": average,
        }
        for name, value in counters.items():
            heads["idx"][name] = value
        self._append(heads, kspace)

    def _heads(self, n_lines: int, n_samples: int) -> NDArray[Any]:
        layout = self._layout
        heads = np.zeros(n_lines, dtype=acquisition_header_dtype)
        heads["version"] = _FORMAT_VERSION
        heads["scan_counter"] = self._table.shape[0] + np.arange(n_lines)
        heads["number_of_samples"] = n_samples
        heads["available_channels"] = heads["active_channels"] = layout.n_coils
        heads["sample_time_us"] = layout.sample_time_us
        for name in ("read_dir", "phase_dir", "slice_dir"):
            heads[name] = getattr(layout, name)
        return heads

    def _append(self, heads: NDArray[Any], samples: Complex) -> None:
        if samples.shape[1] != self._layout.n_coils:
            raise ValueError(f"{samples.shape[1]} channels, the layout says {self._layout.n_coils}")
        rows = np.empty(len(heads), dtype=acquisition_dtype)
        rows["head"] = heads
        flat = np.ascontiguousarray(samples, dtype=np.complex64).reshape(len(heads), -1).view(np.float32)
        for row, values in zip(rows, flat, strict=True):
            row["traj"], row["data"] = np.empty(0, dtype=np.float32), values
        first = self._table.shape[0]
        self._table.resize(first + len(heads), axis=0)
        self._table[first:] = rows


@contextmanager
def open_writer(path: Path, layout: ScanLayout, *, group: str = "dataset") -> Iterator[MeasurementWriter]:
    """Create the ISMRMRD file ``path``; it is complete when the block is left."""
    with h5py.File(path, "w") as file:
        member = file.create_group(group)
        xml = member.create_dataset("xml", shape=(1,), dtype=h5py.special_dtype(vlen=bytes))
        xml[0] = xsd.ToXML(_header(layout))
        table = member.create_dataset(
            "data", shape=(0,), maxshape=(None,), dtype=acquisition_dtype, chunks=(64,)
        )
        yield MeasurementWriter(table, layout)


def write_measurement(
    path: Path,
    kspace: Complex,
    sampled: Bool,
    layout: ScanLayout,
    *,
    calibration: Bool | None = None,
    noise: Complex | None = None,
) -> None:
    """Write one scan.

    Parameters
    ----------
    kspace
        c64 (s, c, r, p), centred. For a 3-D layout s is the readout direction in image space and
        (r, p) are the two phase-encode directions, as `RawScan.load` gives them.
    sampled
        bool (p,) or (s, p): lines to write; (r, p) for a 3-D layout.
    calibration
        Lines (points) written as calibration: flagged for both uses where ``sampled`` holds them
        too, for calibration only elsewhere.
    noise
        c64 (c, n) written first, as a noise measurement.
    """
    with open_writer(path, layout) as writer:
        if noise is not None:
            writer.noise(noise)
        reference = np.zeros_like(sampled) if calibration is None else calibration
        uses = (
            (sampled & ~reference, ()),
            (sampled & reference, (Flag.PARALLEL_CALIBRATION_AND_IMAGING,)),
            (reference & ~sampled, (Flag.PARALLEL_CALIBRATION,)),
        )
        if layout.three_dimensional:
            readouts = np.moveaxis(fft_axis(kspace, 0), 0, -1)  # (c, r, p, x)
            for chosen, flags in uses:
                step_1, step_2 = np.nonzero(chosen)
                block = np.moveaxis(readouts[:, step_1, step_2], 0, 1)
                writer.lines(block, step_1, step_2=step_2, flags=flags)
            return
        for s, plane in enumerate(kspace):
            for chosen, flags in uses:
                step_1 = np.flatnonzero(chosen if chosen.ndim == 1 else chosen[s])
                writer.lines(plane[:, :, step_1].transpose(2, 0, 1), step_1, slice_counter=s, flags=flags)


def _bits(*flags: Flag) -> int:
    return sum(1 << (flag - 1) for flag in flags)


def _space(matrix: tuple[int, int, int], field_of_view_mm: Vector) -> xsd.encodingSpaceType:
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=matrix[2]),
        fieldOfView_mm=xsd.fieldOfViewMm(x=field_of_view_mm[0], y=field_of_view_mm[1], z=field_of_view_mm[2]),
    )


def _limit(n: int, center: int = 0) -> xsd.limitType:
    return xsd.limitType(minimum=0, maximum=n - 1, center=center)


def _encoding(layout: ScanLayout) -> xsd.encodingType:
    (n_x, n_y, n_z), (x, y, z) = layout.matrix, layout.field_of_view_mm
    factor = layout.readout_oversampling
    return xsd.encodingType(
        encodedSpace=_space((n_x * factor, n_y, n_z), (x * factor, y, z)),
        reconSpace=_space(
            layout.recon_matrix or layout.matrix, layout.recon_field_of_view_mm or layout.field_of_view_mm
        ),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_1=_limit(n_y, n_y // 2),
            kspace_encoding_step_2=_limit(n_z, n_z // 2),
            slice=_limit(len(layout.positions_mm)),
            contrast=_limit(len(layout.sequences)),
        ),
        trajectory=xsd.trajectoryType.CARTESIAN,
    )


def _header(layout: ScanLayout) -> xsd.ismrmrdHeader:
    first, identity = layout.sequences[0], layout.identity

    def listed(name: str) -> list[float]:
        values = [getattr(sequence, name) for sequence in layout.sequences]
        return [] if None in values else values

    return xsd.ismrmrdHeader(
        subjectInformation=xsd.subjectInformationType(
            patientName=identity.patient_name, patientID=identity.patient_id
        ),
        studyInformation=xsd.studyInformationType(
            studyInstanceUID=identity.study_instance_uid,
            accessionNumber=int(identity.accession_number) if identity.accession_number else None,
        ),
        measurementInformation=xsd.measurementInformationType(
            patientPosition=xsd.patientPositionType(identity.patient_position or "HFS"),
            protocolName=first.protocol,
            frameOfReferenceUID=identity.frame_of_reference_uid,
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor=first.system_vendor,
            systemModel=first.system_model,
            systemFieldStrength_T=first.field_strength_t,
            receiverChannels=layout.n_coils,
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=first.resonance_frequency_hz or 0
        ),
        encoding=[_encoding(layout)],
        sequenceParameters=xsd.sequenceParametersType(
            TR=listed("repetition_time_ms"),
            TE=listed("echo_time_ms"),
            TI=listed("inversion_time_ms"),
            flipAngle_deg=listed("flip_angle_deg"),
        ),
        userParameters=xsd.userParametersType(
            userParameterString=[
                xsd.userParameterStringType(name=name, value=value) for name, value in layout.notes.items()
            ]
        ),
    )
