"""ISMRMRD HDF5 to `RawScan`: the door through which measurements enter.

The heads of all acquisitions are read once; samples are read slice by slice when `RawScan.load` is
called, so that a 2-D scan needs the memory of about one slice. A 3-D scan is transformed along
readout when its first plane is asked for, into a scratch file that vanishes with the measurement.

What is done to the samples, in this order: readouts recorded backwards are turned, asymmetric
echoes zero-filled, the scanner's sign and flips applied, the readout oversampling removed
(``encodedSpace`` against ``reconSpace`` field of view), the noise whitened, averages combined as
their mean line by line, lines placed at ``n // 2 - center + counter`` of the full phase grid.

[our reading] The zero-filled part of an asymmetric echo counts as sampled: the mask of a 2-D scan
is over lines. Whitened noise has unit variance, ``E[n n^H] = 1``, in a line of one average; a line
averaged n times has 1 / n.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from lfmri_node.recon.errors import InvalidRawData, UnsupportedAcquisition
from lfmri_node.recon.mrd.acquisitions import (
    AcquisitionPlan,
    ScanKey,
    calibration_rows_of,
    plan_acquisitions,
    rows_of,
)
from lfmri_node.recon.mrd.file import MrdFile, Rows, open_mrd, sha256_of
from lfmri_node.recon.mrd.geometry import Frames, order_slices, slab_geometry, stack_geometry
from lfmri_node.recon.mrd.header import Header, parse_header
from lfmri_node.recon.mrd.lines import batches
from lfmri_node.recon.mrd.orientation import with_caution
from lfmri_node.recon.mrd.readout import LineGrid, ReadoutGrid
from lfmri_node.recon.mrd.slab import PlaneReader, read_hybrid
from lfmri_node.recon.mrd.slices import SliceReader
from lfmri_node.recon.mrd.whitening import bandwidth_factor, noise_covariance, whitening_matrix
from lfmri_node.recon.types import Complex, Convention, DisplayOrder, Geometry, KSpace, RawScan, ScanIdentity

_Volume = tuple[Callable[[int], KSpace], tuple[int, int, int, int], Geometry, DisplayOrder]

_MAX_ARRAY_BYTES = 4 << 30
_WHOLE = 1e-3
"""Part of a voxel by which a field of view may exceed a whole number of voxels unnoticed."""
_CONSTANT = {"position": 0.05, "read_dir": 1e-3, "phase_dir": 1e-3, "slice_dir": 1e-3}
"""How far a head field may vary within a slice (mm, unit vectors)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderSettings:
    """What a site sets for each scanner gateway.

    Parameters
    ----------
    fft_sign, flip_readout, flip_phase, flip_partition, orientation_verified
        See `types.Convention`; the last is its ``verified``.
    prewhiten
        Whiten the channels when the file holds a noise measurement.
    group
        HDF5 group; None takes the only one that holds acquisitions.
    scratch
        Directory for the scratch file of 3-D scans; None is the system's.
    """

    fft_sign: Literal[-1, 1] = -1
    flip_readout: bool = False
    flip_phase: bool = False
    flip_partition: bool = False
    orientation_verified: str | None = None
    prewhiten: bool = True
    group: str | None = None
    scratch: Path | None = None

    def convention(self, vendor: str | None = None) -> Convention:
        """The convention that the site set, with what is known of it for this ``systemVendor``."""
        return with_caution(
            Convention(
                fft_sign=self.fft_sign,
                flip_readout=self.flip_readout,
                flip_phase=self.flip_phase,
                flip_partition=self.flip_partition,
                verified=self.orientation_verified,
            ),
            vendor,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """An open ISMRMRD measurement; usable inside the ``with`` block of `open_measurement`.

    Parameters
    ----------
    scans
        (contrast, repetition) pairs that hold images, sorted.
    encoding
        Index of the header's encoding that the images belong to; others serve for calibration at most.
    stated
        See `header.Header`.
    """

    scans: tuple[ScanKey, ...]
    encoding: int
    identity: ScanIdentity
    stated: Mapping[str, str] = field(repr=False)
    source_sha256: str
    build: Callable[[ScanKey], RawScan] = field(repr=False)

    def scan(self, contrast: int = 0, repetition: int = 0) -> RawScan:
        """One contrast and repetition.

        Raises
        ------
        KeyError
            When ``scans`` does not hold the pair.
        InvalidRawData, UnsupportedAcquisition
            Header and heads contradict each other, or describe slices that make no volume
            (LF-RAW-012 to LF-RAW-018, LF-RAW-030 to LF-RAW-033, LF-RAW-037).
        """
        if (contrast, repetition) not in self.scans:
            raise KeyError(f"contrast {contrast}, repetition {repetition} is not in the measurement")
        return self.build((contrast, repetition))


@contextmanager
def open_measurement(
    source: Path | BinaryIO, *, sha256: str | None = None, settings: ReaderSettings | None = None
) -> Iterator[Measurement]:
    """Open an ISMRMRD file, or a seekable binary file object that holds one.

    Parameters
    ----------
    sha256
        SHA-256 of the whole file where it is known already; None computes it by streaming.

    Raises
    ------
    InvalidRawData
        LF-RAW-001 to LF-RAW-011, LF-RAW-019, LF-RAW-034, LF-RAW-036, LF-RAW-041 to LF-RAW-043: damaged,
        incomplete, or contradicting its own header.
    UnsupportedAcquisition
        LF-RAW-020 to LF-RAW-029, LF-RAW-035: not Cartesian, or more dimensions than the node reconstructs.
    FileNotFoundError, PermissionError
        As raised by the operating system.

    Notes
    -----
    The HDF5 library itself can loop for ever on a damaged global heap (seen with 1.14 on a heap of
    zeros). So check the hash of a file that came over a network before opening it.
    """
    digest = sha256_of(source) if sha256 is None else sha256
    with open_mrd(source, (settings or ReaderSettings()).group) as file:
        header = parse_header(file.xml)
        plan = plan_acquisitions(file.heads, header)
        opened = _Opened(
            file=file, header=header, plan=plan, settings=settings or ReaderSettings(), sha256=digest
        )
        yield Measurement(
            scans=plan.scans,
            encoding=plan.encoding_ref,
            identity=header.identity,
            stated=header.stated,
            source_sha256=digest,
            build=opened.scan,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """What `Measurement.build` needs."""

    file: MrdFile
    header: Header
    plan: AcquisitionPlan
    settings: ReaderSettings
    sha256: str

    def scan(self, key: ScanKey) -> RawScan:
        plan = self.plan
        whitening = self._whitening(key)
        make = self._slab if plan.three_dimensional else self._stack
        load, shape, geometry, display = make(key, whitening)
        _check_memory(shape[1:], geometry.matrix)
        return RawScan(
            load=load,
            shape=shape,
            geometry=geometry,
            display=display,
            sequence=self.header.sequence_of(key[0], plan.encoding, three_dimensional=plan.three_dimensional),
            identity=self.header.identity,
            contrast=key[0],
            repetition=key[1],
            whitened=whitening is not None,
            n_averages=plan.n_averages,
            source_sha256=self.sha256,
            convention=self.settings.convention(self.header.sequence.system_vendor),
        )

    def _stack(self, key: ScanKey, whitening: Complex | None) -> _Volume:
        """A stack of 2-D slices, loaded slice by slice."""
        plan, heads = self.plan, self.file.heads
        phase, readout = self._lines(1), self._readout(whitening)
        for s in plan.slices:
            lines = phase.index(heads[rows_of(heads, plan.imaging, key, s)])  # refuse now
            self._check_references(centre=bool(np.isin(phase.n // 2, lines)))
        frames = _frames(self.file, [rows_of(heads, plan.imaging, key, s) for s in plan.slices])
        order = order_slices(frames)
        voxel_mm = plan.encoding.encoded.voxel_mm
        geometry, display = stack_geometry(frames.take(order), plan.encoding.recon, voxel_mm[:2])
        load = SliceReader(
            file=self.file,
            plan=plan,
            scan=key,
            order=tuple(plan.slices[i] for i in order),
            readout=readout,
            phase=phase,
        )
        return load, (len(order), plan.n_channels, readout.n_kept, phase.n), geometry, display

    def _slab(self, key: ScanKey, whitening: Complex | None) -> _Volume:
        """A 3-D scan as readout planes; all of it is transformed when the first plane is loaded."""
        plan, heads = self.plan, self.file.heads
        imaging = rows_of(heads, plan.imaging, key)
        calibration = calibration_rows_of(heads, plan.calibration, key)
        phase, partition, readout = self._lines(1), self._lines(2), self._readout(whitening)
        read = partial(
            read_hybrid,
            self.file,
            readout=readout,
            phase=phase,
            partition=partition,
            scratch=self.settings.scratch,
        )

        middle = phase.index(heads[imaging]) == phase.n // 2
        middle &= partition.index(heads[imaging]) == partition.n // 2
        self._check_references(centre=bool(middle.any()))

        one_at_a_time = threading.Lock()

        @cache
        def planes() -> PlaneReader:
            separate = not np.isin(calibration, imaging).all()
            return PlaneReader(image=read(imaging), calibration=read(calibration) if separate else None)

        voxel_mm = plan.encoding.encoded.voxel_mm
        geometry, display = slab_geometry(_frames(self.file, [imaging]), plan.encoding.recon, voxel_mm[1:])
        shape = (readout.n_kept, plan.n_channels, phase.n, partition.n)

        def load(x: int) -> KSpace:
            with one_at_a_time:  # who comes first transforms all of it
                reader = planes()
            return reader(x)

        return load, shape, geometry, display

    def _axis(self, axis: int) -> bool:
        """Whether k is replaced by -k along encoded axis 0 (readout), 1 (phase), 2 (partition)."""
        return self.settings.convention().reversed_axes[axis]

    def _check_references(self, *, centre: bool) -> None:
        """Say why calibration lines of another encoding are of no use where they would be needed."""
        if centre or self.plan.calibration.size or not self.plan.unfit_references:
            return
        raise UnsupportedAcquisition(
            "LF-RAW-037",
            f"the calibration lines are in encoding {', '.join(map(str, self.plan.unfit_references))}, whose"
            " field of view is not that of the images, and the images have no centre of their own",
            "acquire calibration lines with the field of view of the images",
        )

    def _lines(self, axis: int) -> LineGrid:
        """``encodingLimits`` of every encoding, since calibration lines may be of another one."""
        return LineGrid(
            n=self.plan.encoding.encoded.matrix[axis],
            counter=f"kspace_encode_step_{axis}",
            limits=tuple(encoding.limit(axis) for encoding in self.header.encodings),
            reverse=self._axis(axis),
        )

    def _readout(self, whitening: Complex | None) -> ReadoutGrid:
        """The 2-D readout keeps the voxel size and whole voxels; the 3-D one goes to ``reconSpace``."""
        encoded, recon = self.plan.encoding.encoded, self.plan.encoding.recon
        field_voxels = recon.field_of_view_mm[0] / encoded.voxel_mm[0]
        n_kept = min(encoded.matrix[0], math.ceil(field_voxels - _WHOLE))
        return ReadoutGrid(
            n_encoded=encoded.matrix[0],
            n_kept=recon.matrix[0] if self.plan.three_dimensional else n_kept,
            field=field_voxels,
            reverse=self._axis(0),
            whitening=whitening,
        )

    def _whitening(self, key: ScanKey) -> Complex | None:
        plan, heads = self.plan, self.file.heads
        if not self.settings.prewhiten or plan.noise.size == 0:
            return None
        if (heads["active_channels"][plan.noise] != plan.n_channels).any():
            raise InvalidRawData(
                "LF-RAW-017",
                "the noise measurement has another number of channels than the images",
                "repeat the noise scan or switch prewhitening off",
            )
        noise = [block for _, block in batches(self.file, plan.noise)]
        samples = np.concatenate([np.swapaxes(b, 0, 1).reshape(plan.n_channels, -1) for b in noise], axis=1)
        factor = bandwidth_factor(
            float(heads["sample_time_us"][plan.noise[0]]),
            float(heads["sample_time_us"][rows_of(heads, plan.imaging, key)[0]]),
            self.header.relative_noise_bandwidth,
        )
        return whitening_matrix(noise_covariance(samples) * np.float32(factor))


def _frames(file: MrdFile, slices: list[Rows]) -> Frames:
    """Position and directions of each slice, from its first acquisition.

    Raises
    ------
    InvalidRawData
        LF-RAW-018 when they change within a slice.
    """
    names = ("position", "read_dir", "phase_dir", "slice_dir")
    firsts: dict[str, list[Any]] = {name: [] for name in names}
    for rows in slices:
        for name in names:
            values = file.heads[name][rows].astype(np.float64)
            if np.abs(values - values[0]).max() > _CONSTANT[name]:
                raise InvalidRawData(
                    "LF-RAW-018", f"'{name}' changes within a slice", "correct the acquisition heads"
                )
            firsts[name].append(values[0])
    position, read, phase, normal = (np.array(firsts[name]) for name in names)
    return Frames(position_mm=position, read_dir=read, phase_dir=phase, slice_dir=normal)


def _check_memory(kspace: tuple[int, ...], matrix: tuple[int, int, int]) -> None:
    """Refuse a header whose sizes would need absurd memory, before anything is allocated."""
    if 8 * max(math.prod(kspace), math.prod(matrix)) > _MAX_ARRAY_BYTES:
        raise InvalidRawData(
            "LF-RAW-016",
            f"k-space {kspace} or volume {matrix} would need more than 4 GiB",
            "correct encodedSpace and reconSpace in the header",
        )
