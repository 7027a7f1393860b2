"""The stroke patients of SOOP: FLAIR slices with hand-drawn masks, split by patient.

Source: github neurolabusc/StrokeOutcomeOptimizationProjectDemo (images CC0, repository BSD-2-Clause). Display
pictures of 7 bits, skull-stripped, 1 mm: good for lesions and their shapes. A slice without a mask shows no
acute stroke; it need not be healthy. Masks build pairs and serve evaluation; they never enter a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lfmri_node.recon.train.split import STROKE, Part, part_of
from lfmri_node.recon.types import Bool, Real

FILES = ("soop_axial.npz", "soop_coronal.npz")
_LARGEST = 127.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stroke:
    """One slice of one patient.

    Parameters
    ----------
    image
        Magnitude f32 (y, x), in [0, 1].
    mask
        bool (y, x), empty where the slice shows no acute stroke.
    cnr
        Contrast of the lesion against its ring over the ring's spread; nan without a lesion.
    """

    subject: str
    image: Real
    mask: Bool
    cnr: float


def load_strokes(data: Path, part: Part, *, coronal: bool = False) -> tuple[Stroke, ...]:
    """All slices of the patients of ``part``, axial or coronal; none where the file is not there."""
    path = data / "soop_flair" / FILES[coronal]
    if not path.is_file():
        return ()
    with np.load(path) as f:
        images, packed, cnr, numbers = f["images"], f["masks"], f["cnr"], f["subject"]
        width = int(f["mask_width"])
    names = [f"{STROKE}{number:04d}" for number in numbers]
    return tuple(
        Stroke(
            subject=name,
            image=images[i].astype(np.float32) / _LARGEST,
            mask=np.unpackbits(packed[i], axis=1)[:, :width].astype(bool),
            cnr=float(cnr[i]),
        )
        for i, name in enumerate(names)
        if part_of(name) is part
    )
