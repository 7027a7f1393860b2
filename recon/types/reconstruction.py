"""What was made of it: images, lesion map, verdict with its figures, provenance."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from lfmri_node.recon.settings import Method
from lfmri_node.recon.types.measurement import (
    Bool,
    Complex,
    Convention,
    Geometry,
    Real,
    SequenceInfo,
    require,
)


class Verdict(StrEnum):
    """What the node may do with a measurement."""

    TRUSTED = "TRUSTED"
    FALLBACK = "FALLBACK"
    REFUSED = "REFUSED"


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
        require(self.activation.ndim == 3, f"activation must be (s, y, x), got {self.activation.shape}")
        require(
            self.scores.shape == (self.activation.shape[0], len(self.labels)),
            f"scores must be (s, k), got {self.scores.shape}",
        )
        low, high = float(self.activation.min()), float(self.activation.max())
        require(low >= 0.0 and high <= 1.0, f"activation must lie in [0, 1], got {low}..{high}")

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
        require(bool((self.factor > 0).all()), "the factor must be positive")


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

    @property
    def range_in_words(self) -> str:
        """For a reader; "" where there is none."""
        if self.low is None:
            return "" if self.high is None else f"up to {self.high:.3g}"
        return f"{self.low:.3g} or more" if self.high is None else f"{self.low:.3g} to {self.high:.3g}"


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
        require(
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
    device
        What computed it.
    device_notes
        A sentence each time that its memory ran out, and what was done then.
    """

    method: Method
    software_version: str
    source_sha256: str
    settings: str
    weights_sha256: str | None = None
    weights_name: str | None = None
    fallback: Method | None = None
    choice: str | None = None
    convention: Convention = field(default_factory=Convention)
    device: str = "cpu"
    device_notes: tuple[str, ...] = ()


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
            require(
                volume is None or volume.shape == self.geometry.matrix,
                f"{name} must have the geometry's matrix {self.geometry.matrix}",
            )
        require(
            self.receive_field is None or self.receive_field.factor.shape == self.geometry.matrix,
            f"receive_field must have the geometry's matrix {self.geometry.matrix}",
        )
        if self.quality.verdict is not Verdict.TRUSTED:
            require(self.lesion is None, "a lesion map exists only when the verdict is TRUSTED")
            require(self.reference is None, "a reference exists only when the verdict is TRUSTED")
        require(self.quality.verdict is not Verdict.REFUSED, "a refused measurement has no reconstruction")
