"""What was measured: k-space of a scan, where it lies, who and how; coil maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Complex = NDArray[np.complex64]
Real = NDArray[np.float32]
Bool = NDArray[np.bool_]
Vector = tuple[float, float, float]

_UNIT_TOLERANCE = 1e-3


def require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Where a volume of shape ``matrix`` lies in the patient.

    Parameters
    ----------
    matrix
        (s, y, x), voxels.
    spacing_mm
        (s, y, x): distance between neighbouring voxel centres.
    thickness_mm
        Slice thickness; differs from ``spacing_mm[0]`` where slices have gaps.
    origin_mm
        LPS position of the **centre of voxel (0, 0, 0)**.
    axis_s, axis_y, axis_x
        LPS unit vectors along increasing index. Right-handed or left-handed; orthonormal.
    known
        False when the header holds no usable directions and the axes are a stand-in.
    """

    matrix: tuple[int, int, int]
    spacing_mm: Vector
    thickness_mm: float
    origin_mm: Vector
    axis_s: Vector
    axis_y: Vector
    axis_x: Vector
    known: bool = True

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.matrix), f"matrix must be positive, got {self.matrix}")
        require(all(d > 0 for d in self.spacing_mm), f"spacing_mm must be positive, got {self.spacing_mm}")
        require(self.thickness_mm > 0, f"thickness_mm must be positive, got {self.thickness_mm}")
        axes = np.array([self.axis_s, self.axis_y, self.axis_x], dtype=float)
        require(
            bool(np.allclose(axes @ axes.T, np.eye(3), atol=_UNIT_TOLERANCE)),
            "axis_s, axis_y and axis_x must be orthonormal",
        )

    def voxel_centre_mm(self, s: float, y: float, x: float) -> Vector:
        """LPS position of the centre of voxel (s, y, x)."""
        steps = np.array([s, y, x], dtype=float) * np.array(self.spacing_mm)
        axes = np.array([self.axis_s, self.axis_y, self.axis_x], dtype=float)
        centre = np.array(self.origin_mm, dtype=float) + steps @ axes
        return (float(centre[0]), float(centre[1]), float(centre[2]))


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceInfo:
    """What the ISMRMRD header says of the sequence; None where it is silent."""

    protocol: str | None = None
    sequence_name: str | None = None
    field_strength_t: float | None = None
    resonance_frequency_hz: int | None = None
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    echo_train_length: int | None = None
    system_vendor: str | None = None
    system_model: str | None = None
    three_dimensional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanIdentity:
    """Identifiers inside the ISMRMRD header; compared with the DICOM attributes, never logged."""

    patient_id: str | None = field(default=None, repr=False)
    patient_name: str | None = field(default=None, repr=False)
    study_instance_uid: str | None = field(default=None, repr=False)
    frame_of_reference_uid: str | None = field(default=None, repr=False)
    accession_number: str | None = field(default=None, repr=False)
    patient_position: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KSpace:
    """Measured samples of one slice (or one plane of a 3-D scan after the readout transform).

    Parameters
    ----------
    data
        c64 (c, r, p), zero where not sampled, readout oversampling removed. For a plane of a
        3-D scan r and p are the two phase-encode directions.
    sampled
        bool (p,) for line sampling, (r, p) for sampling in two phase directions.
    calibration
        c64 (c, r, p') of separately acquired calibration lines, zero frequency at index n // 2;
        (c, r', p') for a plane of a 3-D scan; None when the centre of ``data`` serves.
    """

    data: Complex
    sampled: Bool
    calibration: Complex | None = None

    def __post_init__(self) -> None:
        require(self.data.ndim == 3, f"data must be (c, r, p), got shape {self.data.shape}")
        require(self.data.dtype == np.complex64, f"data must be complex64, got {self.data.dtype}")
        require(self.sampled.dtype == np.bool_, f"sampled must be bool, got {self.sampled.dtype}")
        require(
            self.sampled.shape in (self.data.shape[2:], self.data.shape[1:]),
            f"sampled {self.sampled.shape} fits neither (p,) nor (r, p) of data {self.data.shape}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DisplayOrder:
    """How the reconstructed array becomes the volume in `Geometry`: crop, resample, turn.

    Parameters
    ----------
    crop
        (r, p) field of view kept around index n // 2, in voxels of the reconstructed plane; need
        not be whole.
    resample
        (r, p) matrix delivered, index n // 2 in the same place; interpolated by zero-filling or
        cropping the spectrum of the whole plane where it differs from ``crop``.
    permutation
        Axes of the reconstructed (s, r, p) array in the order (s, y, x) of the volume.
    flip
        (s, y, x): whether the axis is reversed after the permutation.
    """

    crop: tuple[float, float]
    resample: tuple[int, int]
    permutation: tuple[int, int, int] = (0, 1, 2)
    flip: tuple[bool, bool, bool] = (False, False, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """Which way the axes of k-space run, and whether anyone compared that with the scanner's own images.

    Parameters
    ----------
    fft_sign
        Sign of the exponent in the scanner's forward transform. With -1 the image is the inverse
        transform of the samples; with +1 every k-space axis is reversed first.
    flip_readout, flip_phase, flip_partition
        Turn the image about the centre of that axis. Like ``fft_sign`` they move the image, never
        the geometry: for scanners whose axes run against the direction vectors they write.
    verified
        ISO date on which a site compared an image with the scanner's; None where nobody did.
    caution
        What is known against this convention for the vendor that the header names; "" where nothing is.
    """

    fft_sign: Literal[-1, 1] = -1
    flip_readout: bool = False
    flip_phase: bool = False
    flip_partition: bool = False
    verified: str | None = None
    caution: str = ""

    @property
    def reversed_axes(self) -> tuple[bool, bool, bool]:
        """(readout, phase, partition): whether k is replaced by -k.

        The sign and a flip of the same axis cancel, so two settings with equal ``reversed_axes`` give
        the same image.
        """
        every = self.fft_sign == 1
        return (self.flip_readout != every, self.flip_phase != every, self.flip_partition != every)

    @property
    def flips(self) -> tuple[str, ...]:
        """Names of the flips that are set, as `config.toml` spells them."""
        names = ("flip_readout", "flip_phase", "flip_partition")
        return tuple(name for name in names if getattr(self, name))

    def describe(self) -> str:
        """The convention in one sentence, for the DICOM objects and the terminal."""
        flips = ", ".join(self.flips) or "no flips"
        against = "the scanner's own images"
        checked = (
            f"compared with {against} on {self.verified}"
            if self.verified
            else f"not verified against {against}"
        )
        caution = f" ({self.caution})" if self.caution and not self.verified else ""
        return f"Orientation: fft_sign {self.fft_sign:+d}, {flips}; {checked}{caution}."


@dataclass(frozen=True, slots=True, kw_only=True)
class RawScan:
    """One contrast and one repetition of a Cartesian measurement; slices are loaded when asked for.

    Parameters
    ----------
    load
        ``load(s)`` reads slice ``s`` (0-based, ordered by position) as `KSpace`, noise-whitened
        when ``whitened``; also in several threads at once.
    shape
        (s, c, r, p) of all slices together.
    geometry
        Of the delivered volume, in display order.
    display
        From the reconstructed (s, r, p) array to that volume.
    n_averages
        Averages already combined by ``load``.
    source_sha256
        SHA-256 of the ISMRMRD file, lower-case hex.
    convention
        Applied by ``load``.
    """

    load: Callable[[int], KSpace] = field(repr=False)
    shape: tuple[int, int, int, int]
    geometry: Geometry
    display: DisplayOrder
    sequence: SequenceInfo
    identity: ScanIdentity
    contrast: int
    repetition: int
    whitened: bool
    n_averages: int
    source_sha256: str
    convention: Convention = Convention()

    def __post_init__(self) -> None:
        require(all(n > 0 for n in self.shape), f"shape must be positive, got {self.shape}")
        require(len(self.source_sha256) == 64, "source_sha256 must be 64 hex digits")

    @property
    def n_slices(self) -> int:
        return self.shape[0]

    @property
    def n_coils(self) -> int:
        return self.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class CoilMaps:
    """Coil sensitivities of one slice: c64 (c, r, p), unit sum of squares on ``support``, else zero."""

    maps: Complex
    support: Bool

    def __post_init__(self) -> None:
        require(self.maps.ndim == 3, f"maps must be (c, r, p), got {self.maps.shape}")
        require(self.support.shape == self.maps.shape[1:], "support must be (r, p) of the maps")
