"""Phantoms in the layout of the data, so that the whole laboratory runs where the data are not.

Every subject becomes a few slices of a random body of its own; nothing here resembles an anatomy, and no
figure from it says anything about the method.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lfmri_node.recon.phantom.body import insert_lesion, phantom_volume
from lfmri_node.recon.phantom.coils import loop_coils
from lfmri_node.recon.train.strokes import FILES
from lfmri_node.recon.train.visibility import contrast_to_noise
from lfmri_node.recon.types import Real

N_SLICES, SIDE, COIL_SIDE, N_COILS = 4, 160, 64, 32
N_LESIONED = 1
"""Slices of a volume with real lesions: every one of them is a case of the evaluation."""
_BRAINS = {"F6A": "T1w", "F6B": "T2w", "F7A": "FLAIR", "S6A": "T1w"}
_BOX = "0.40,0.40,0.60,0.60"
N_STROKES, STROKE_SHAPE = 40, (112, 96)
LABEL_MAPS = ("label_01", "label_16", "label_18")
"""One of each part of the patients."""


def write_stand_in(folder: Path, seed: int = 0) -> None:
    """Write phantoms under the names of the magnitude data sets, and loop coils, into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)

    def volume(index: int, n: int = N_SLICES) -> Real:
        rng = np.random.default_rng([seed, index])
        return np.asarray(1000 * phantom_volume(n, (SIDE, SIDE), rng))

    np.savez(folder / "knee_mese.npz", images=np.stack([volume(0), volume(0) ** 0.8]), te_ms=[10.0, 40.0])
    np.savez(folder / "legs.npz", thigh=volume(1), calf=volume(2))
    np.savez(folder / "head_t1.npz", images=volume(3))
    _write(folder / "brainchop_t1" / "t1_crop.npz", T1=volume(18))
    np.savez(folder / "brain_stroke.npz", T1=volume(4), T2=volume(5))
    brains = {
        f"{patient}_3T_{contrast}": volume(6 + i, N_LESIONED)
        for i, (patient, contrast) in enumerate(_BRAINS.items())
    }
    np.savez(folder / "brain_3T_lesions.npz", **brains)  # type: ignore[arg-type]
    rows = [f"{patient},{s},{_BOX}" for patient in ("F6A", "F7A", "S6A") for s in range(N_LESIONED)]
    (folder / "brain_3T_boxes.csv").write_text("\n".join(["patient,slice,x0,y0,x1,y1", *rows]) + "\n")
    lesion = np.zeros((N_LESIONED, SIDE, SIDE), dtype=np.uint8)
    lesion[:, 70:82, 60:76] = 1
    contrasts = {
        name: volume(19 + c, N_LESIONED) * (1 + 0.5 * lesion) for c, name in enumerate(("FLAIR", "T2"))
    }
    _write(folder / "openms_cross" / "patient07.npz", mask=lesion, **contrasts)
    for i, name in enumerate(LABEL_MAPS):
        _write_labels(folder / "synthseg_labels" / f"{name}.npz", np.random.default_rng([seed, 40 + i]))
    for i, file in enumerate(FILES):
        _write_strokes(folder / "soop_flair" / file, np.random.default_rng([seed, 50 + i]))
    rng = np.random.default_rng([seed, 99])
    np.savez(folder / "coil_maps_32ch.npz", sens=loop_coils(N_COILS, (COIL_SIDE, COIL_SIDE), rng))


def _write(path: Path, **arrays: NDArray[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _write_labels(path: Path, rng: np.random.Generator) -> None:
    """Label maps of a body in three planes: its brightness in six steps."""
    planes = {}
    for plane in ("axial", "coronal", "sagittal"):
        image = phantom_volume(2, (SIDE, SIDE), rng)
        planes[plane] = np.ceil(6 * np.clip(image / image.max(), 0, 1)).astype(np.uint8)
    _write(path, **planes)


def _write_strokes(path: Path, rng: np.random.Generator) -> None:
    """One slice of each of `N_STROKES` patients, every other one with a bright lesion and its mask."""
    images = np.zeros((N_STROKES, *STROKE_SHAPE), dtype=np.uint8)
    masks = np.zeros(images.shape, dtype=bool)
    cnr = np.full(N_STROKES, np.nan, dtype=np.float32)
    for i in range(N_STROKES):
        image = phantom_volume(1, STROKE_SHAPE, rng)[0]
        if i % 2 == 0:
            image, lesion = insert_lesion(image, "bright", rng)
            if lesion is not None:
                masks[i], cnr[i] = lesion.mask, contrast_to_noise(image, lesion.mask)
        images[i] = np.round(np.clip(127 * image / image.max(), 0, 127))
    _write(
        path,
        images=images,
        masks=np.packbits(masks, axis=2),
        mask_width=np.array(STROKE_SHAPE[1]),
        cnr=cnr,
        subject=np.arange(1, N_STROKES + 1),
    )
