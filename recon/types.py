"""Values that travel between the layers.

Axes: s slice, c coil, r readout, p phase encode, y row, x column, k class. Patient space is
DICOM's LPS in mm. K-space is centred (zero frequency at index ``n // 2``), transforms are
orthonormal, samples are ``complex64``. Every class is frozen and checked when it is built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.settings import LesionWeighting as LesionWeighting
from lfmri_node.recon.settings import Method as Method
from lfmri_node.recon.settings import ReconSettings as ReconSettings

Complex = NDArray[np.complex64]
Real = NDArray[np.float32]
Bool = NDArray[np.bool_]
Vector = tuple[float, float, float]

_UNIT_TOLERANCE = 1e-3


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


class Verdict(StrEnum):
    """What the node may do with a measurement."""

    TRUSTED = "TRUSTED"
    FALLBACK = "FALLBACK"
    REFUSED = "REFUSED"


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
        _require(all(n > 0 for n in self.matrix), f"matrix must be positive, got {self.matrix}")
        _require(all(d > 0 for d in self.spacing_mm), f"spacing_mm must be positive, got {self.spacing_mm}")
        _require(self.thickness_mm > 0, f"thickness_mm must be positive, got {self.thickness_mm}")
        axes = np.array([self.axis_s, self.axis_y, self.axis_x], dtype=float)
        _require(
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
        _require(self.data.ndim == 3, f"data must be (c, r, p), got shape {self.data.shape}")
        _require(self.data.dtype == np.complex64, f"data must be complex64, got {self.data.dtype}")
        _require(self.sampled.dtype == np.bool_, f"sampled must be bool, got {self.sampled.dtype}")
        _require(
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
        when ``whitened``.
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
        _require(all(n > 0 for n in self.shape), f"shape must be positive, got {self.shape}")
        _require(len(self.source_sha256) == 64, "source_sha256 must be 64 hex digits")

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
        _require(self.maps.ndim == 3, f"maps must be (c, r, p), got {self.maps.shape}")
        _require(self.support.shape == self.maps.shape[1:], "support must be (r, p) of the maps")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMap:
    """Class activation map of the classifier on the reconstructed image.

    Parameters
    ----------
    activation
        f32 (s, y, x) in [0, 1]: sigmoid of the class-logit map, gated by the slice's score.
    scores
        f32 (s, k): probability that the slice holds a lesion of class k.
    labels
        Names of the k classes.
    operating_score
        The gate: where a slice's score stays below it, its activation is zero and the lesion term off.
    threshold
        Activation from which a voxel belongs to the segmentation.
    validated
        `modelcard.ModelCard.lesion_map_validated`: the figures on real lesions reach their aims.
    """

    activation: Real
    scores: Real
    labels: tuple[str, ...]
    operating_score: float
    threshold: float
    validated: bool

    def __post_init__(self) -> None:
        _require(self.activation.ndim == 3, f"activation must be (s, y, x), got {self.activation.shape}")
        _require(
            self.scores.shape == (self.activation.shape[0], len(self.labels)),
            f"scores must be (s, k), got {self.scores.shape}",
        )
        low, high = float(self.activation.min()), float(self.activation.max())
        _require(low >= 0.0 and high <= 1.0, f"activation must lie in [0, 1], got {low}..{high}")

    @property
    def mask(self) -> Bool:
        """bool (s, y, x): voxels of the segmentation; empty for a volume without lesion."""
        return self.activation >= self.threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveField:
    """What evens out the shading of an image.

    Parameters
    ----------
    factor
        f32 (s, y, x), positive: the image times this is the corrected image.
    description
        How it was estimated, and its range; one sentence.
    """

    factor: Real
    description: str

    def __post_init__(self) -> None:
        _require(bool((self.factor > 0).all()), "the factor must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a measurement is not TRUSTED: a code, one sentence for the reader, the slices concerned."""

    code: str
    message: str
    slices: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number that the verdict compares with a range; of several slices the worst.

    Parameters
    ----------
    name
        For a reader.
    low, high
        The range of that slice; None where there is no such end, both where no network was asked for.
    n_outside
        How many slices are outside theirs; 1 for a number of the whole scan.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n_outside: int = 0

    @property
    def outside(self) -> bool:
        """Whether the value is beyond an end of the range, or NaN."""
        low, high = (end if end is not None else self.value for end in (self.low, self.high))
        return not low <= self.value <= high


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What was checked and what came out.

    Parameters
    ----------
    acceleration
        Phase-encode lines (or points) of the full grid over those measured, all slices together.
    data_residual
        norm(A x - y) / norm(y) on the sampled points of the delivered image, all slices together.
    reasons
        Empty when TRUSTED.
    figures
        What the reasons follow from, also where nothing was outside.
    """

    verdict: Verdict
    acceleration: float
    data_residual: float
    reasons: tuple[Reason, ...] = ()
    figures: tuple[Figure, ...] = ()

    def __post_init__(self) -> None:
        _require(
            (self.verdict is Verdict.TRUSTED) == (not self.reasons),
            "TRUSTED has no reasons; every other verdict names at least one",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where an image comes from.

    Parameters
    ----------
    fallback
        Method of the fallback's volume; None where there is none.
    choice
        Why that method: one sentence on the samples that were left out; None where nothing was to be chosen.
    convention
        Which way the axes of k-space were read, and whether that was verified.
    """

    method: Method
    software_version: str
    source_sha256: str
    settings: str
    weights_sha256: str | None = None
    weights_name: str | None = None
    fallback: Method | None = None
    choice: str | None = None
    convention: Convention = Convention()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """The answer of `recon.reconstruct`: volumes c64 (s, y, x) in display order.

    Parameters
    ----------
    image
        The delivered image: LF-MRI when TRUSTED, the fallback otherwise.
    reference
        The same network with the lesion term switched off; None when not TRUSTED.
    fallback
        Reconstruction by the site's fallback method: the delivered image itself when not TRUSTED; None
        when TRUSTED and not asked for.
    zero_filled
        Coil-combined adjoint, for comparison; None when not asked for.
    lesion
        None unless TRUSTED.
    receive_field
        Of the delivered image; None where a site did not ask for it. Not kept with the rest.
    """

    image: Complex
    reference: Complex | None
    fallback: Complex | None
    zero_filled: Complex | None
    geometry: Geometry
    sequence: SequenceInfo
    lesion: LesionMap | None
    quality: Quality
    provenance: Provenance
    receive_field: ReceiveField | None = None

    def __post_init__(self) -> None:
        for name in ("image", "reference", "fallback", "zero_filled"):
            volume = getattr(self, name)
            _require(
                volume is None or volume.shape == self.geometry.matrix,
                f"{name} must have the geometry's matrix {self.geometry.matrix}",
            )
        _require(
            self.receive_field is None or self.receive_field.factor.shape == self.geometry.matrix,
            f"receive_field must have the geometry's matrix {self.geometry.matrix}",
        )
        if self.quality.verdict is not Verdict.TRUSTED:
            _require(self.lesion is None, "a lesion map exists only when the verdict is TRUSTED")
            _require(self.reference is None, "a reference exists only when the verdict is TRUSTED")
        _require(self.quality.verdict is not Verdict.REFUSED, "a refused measurement has no reconstruction")
