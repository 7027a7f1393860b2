"""What a site can choose about a reconstruction: texts and numbers, so that reading them needs no numpy."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

VIRTUAL_COILS = 12
"""Of more coils so many strongest combinations are kept: that costs LF-MRI 0.01 dB at most on the measured
brain of 13 coils, and gains 0.06 to 0.26 dB on simulated arrays of 16 to 64 (`make bench ARGS=coils`)."""


class Method(StrEnum):
    """How the delivered image was made."""

    LF_MRI = "lf-mri"
    WAVELET = "wavelet"
    L1_WAVELET = "l1-wavelet"
    CG_SENSE = "cg-sense"
    ZERO_FILLED = "zero-filled"


class LesionWeighting(StrEnum):
    """The weight C of the lesion term: the activation map, one everywhere, or no term."""

    FOCUSED = "focused"
    UNIFORM = "uniform"
    OFF = "off"


class Device(StrEnum):
    """What computes: an accelerator where there is one, the processor alone, or an accelerator or nothing.

    It belongs to the machine and not to the job, so it stands in no recipe and no job key.
    """

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """In what the convolutions of D_w and G_u run on the processor: bfloat16 where it has units and a check
    finds it fast and close, or one of both by name. Everything else is float32 always.

    Like `Device` it belongs to the machine: it stands in no recipe and no job key.
    """

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconSettings:
    """What a site can choose; part of the job key, so a change makes new objects.

    Parameters
    ----------
    lesion
        Weight of the lesion term at inference.
    fallback
        Method where the network is not trusted; of wavelets and CG-SENSE the one that predicts samples left
        out of the scan better (`recon.fallback`).
    always_fallback
        Compute the zero-filled image and, when TRUSTED, the fallback too, for comparison pictures.
    n_virtual_coils
        Compress to this many coils first, where there are more; None keeps all.
    method
        `Method.LF_MRI` asks for the network (with the guard); any other method is used as it is.
    """

    method: Method = Method.LF_MRI
    lesion: LesionWeighting = LesionWeighting.FOCUSED
    fallback: Method = Method.WAVELET
    always_fallback: bool = False
    n_virtual_coils: int | None = VIRTUAL_COILS

    def describe(self) -> str:
        """One line, stable across versions: enters the job key and the DICOM objects."""
        coils = "all" if self.n_virtual_coils is None else str(self.n_virtual_coils)
        return f"method={self.method};lesion={self.lesion};fallback={self.fallback};coils={coils}"
