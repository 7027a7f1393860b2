"""The magnitude images of the named subjects, read from the data folder (see its README for the licences)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lfmri_node.recon.errors import LabError
from lfmri_node.recon.train.split import LESIONED, Part, named
from lfmri_node.recon.types import Real

HEAD, KNEE, BODY = "head", "knee", "body"
_FILES = {
    "knee": "knee_mese.npz",
    "legs": "legs.npz",
    "spine": "sct_spine/testing_t2s.npz",
    "abdomen": "fetal_t2/mialsrtk_sub-01.npz",
    "head_t1": "head_t1.npz",
    "decubitus_prisma": "t1_heads_dicom/decubitus_prisma.npz",
    "fnndsc_child3y": "t1_heads_dicom/fnndsc_child3y.npz",
    "uih_uMR770": "t1_heads_dicom/uih_uMR770.npz",
    "t1_crop": "brainchop_t1/t1_crop.npz",
    "allineate_t2": "allineate_t2/T2w.npz",
    "fernando": "torchio_fernando/fernando.npz",
    "brain_stroke": "brain_stroke.npz",
    "arc_M2265": "arc_t2/M2265.npz",
    "glioma_6692": "tcga_glioma/TCGA-FG-6692.npz",
}
_PREFIXES = {"ds0": "openneuro_t1w/{}.npz", "ms_long_": "openms_long/patient{}.npz"}
_PREFIXES |= {"ms_cross_": "openms_cross/patient{}.npz"}
_BRAINS = ("F6A", "F6B", "F7A", "S6A")
_KINDS = {"knee": KNEE, "legs": BODY, "spine": BODY, "abdomen": BODY}
_NOT_IMAGES = ("meta", "te_ms", "mask", "gif_axial", "sri24_mask")
_ROW_SPACING = {"uih_uMR770": 0.5}
"""Rows over columns where pixels are not square."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """All images of one subject.

    Parameters
    ----------
    images
        Magnitudes f32 (y, x), sizes may differ; 1 is the brightest tissue of a volume.
    kind
        ``head``, ``knee`` or ``body``.
    has_lesion
        The images hold a real lesion: positives for the classifier.
    """

    name: str
    images: tuple[Real, ...]
    kind: str
    has_lesion: bool


def load_subjects(data: Path, part: Part) -> tuple[Subject, ...]:
    """The subjects of ``part`` whose images the folder holds; slices that are almost empty are left out.

    Raises LabError (LF-LAB-011) where it holds none.
    """
    found = [_load(data, name) for name in named(part) if _path(data, name) is not None]
    if not found:
        raise LabError(
            "LF-LAB-011",
            f"the data folder holds no images of the part {part}",
            "`lfmri-lab stand-in` makes some",
        )
    return tuple(found)


def _path(data: Path, name: str) -> Path | None:
    """File of a subject's images; None where there are none (a label map, or not there)."""
    path = data / "brain_3T_lesions.npz" if name in _BRAINS else None
    if name in _FILES:
        path = data / _FILES[name]
    for prefix, pattern in _PREFIXES.items():
        if name.startswith(prefix):
            path = data / pattern.format(name.removeprefix(prefix) if prefix != "ds0" else name)
    return path if path is not None and path.is_file() else None


def _load(data: Path, name: str) -> Subject:
    path = _path(data, name)
    assert path is not None  # asked before
    images = tuple(image for volume in _volumes(path, name) for image in _normalised(volume))
    return Subject(name=name, images=images, kind=_KINDS.get(name, HEAD), has_lesion=name in LESIONED)


def _volumes(path: Path, name: str) -> Iterator[Real]:
    with np.load(path) as f:
        for key in f.files:
            if key in _NOT_IMAGES or (name in _BRAINS and not key.startswith(name)):
                continue
            volume = np.asarray(f[key], dtype=np.float32)
            volume = volume.reshape(-1, *volume.shape[-2:])
            if name in _ROW_SPACING:
                volume = volume[:, :: round(1 / _ROW_SPACING[name])]
            yield volume


def _normalised(volume: Real) -> Iterator[Real]:
    volume = volume - volume.min()  # some volumes are stored with an offset
    for image in volume / max(float(np.percentile(volume, 99.5)), 1e-6):
        if (image > 0.1).mean() > 0.04:
            yield np.asarray(image, dtype=np.float32)
