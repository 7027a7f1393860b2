"""Anatomies drawn from label maps: a new intensity for each label gives a contrast that no scanner made.

Source of the idea: Billot et al., SynthSeg, Medical Image Analysis 86 (2023) 102789. Label maps: SynthSeg's
heads (Apache-2.0), pymskt's knee and thigh (MIT), TotalSegmentator's trunk (Apache-2.0).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lfmri_node.recon.phantom.body import smooth_field
from lfmri_node.recon.train.split import Part, named
from lfmri_node.recon.types import Real

_FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "knee_labels": ("pymskt_knee_label/right_knee.npz", ("sagittal",)),
    "thigh_labels": ("pymskt_knee_label/thigh_muscles.npz", ("axial",)),
    "trunk_labels": ("totalseg_mr/example_mr_sm.npz", ("labels",)),
}
_PLANES = ("axial", "coronal", "sagittal")
_LEAST_COVERED = 0.08


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMap:
    """Slices of label maps u8 (y, x) of one subject; ``bare`` where the tissue around the labels lacks."""

    name: str
    slices: tuple[NDArray[np.uint8], ...]
    bare: bool


def load_label_maps(data: Path, part: Part) -> tuple[LabelMap, ...]:
    """The label maps of ``part`` that the folder holds; slices that are almost empty are left out."""
    found = []
    files = {name: (f"synthseg_labels/{name}.npz", _PLANES) for name in named(part)} | _FILES
    for name in named(part):
        if name not in _FILES and not name.startswith("label_"):
            continue
        file, planes = files[name]
        path = data / file
        if path.is_file():
            with np.load(path) as f:
                slices = [plane for key in planes for plane in np.asarray(f[key], dtype=np.uint8)]
            kept = tuple(s for s in slices if (s > 0).mean() > _LEAST_COVERED)
            found.append(LabelMap(name=name, slices=kept, bare=name in _FILES))
    return tuple(found)


def paint(labels: NDArray[np.uint8], rng: np.random.Generator, *, bare: bool) -> Real:
    """Magnitude f32 (y, x), at most about 1: an intensity and a texture for each label, soft edges.

    Where the map is ``bare`` soft tissue in three intensities is put around it: a disc that holds all labels.
    """
    labels = labels.astype(np.int64)
    if bare:
        labels = np.where((labels == 0) & _surround(labels > 0, rng), _soft_tissue(labels.shape, rng), labels)
    n = int(labels.max()) + 1
    intensity = rng.uniform(0.05, 1.0, n)
    dark = rng.uniform(size=n) < 0.1
    intensity[dark] *= 0.1
    intensity[0] = 0.0
    coarseness = int(rng.integers(24, 80))
    shape = (labels.shape[0], labels.shape[1])
    texture = rng.uniform(0.0, 0.08, n)[labels] * smooth_field(shape, coarseness, rng)
    image = intensity[labels] * (1.0 + texture)
    return np.asarray(
        np.clip(ndimage.gaussian_filter(image, rng.uniform(0.3, 0.7)), 0, None), dtype=np.float32
    )


def _surround(inside: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    places = np.argwhere(inside)
    low, high = places.min(axis=0), places.max(axis=0)
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1) * rng.uniform(1.1, 1.4)
    rows, columns = np.indices(inside.shape)
    return np.asarray(((rows - middle[0]) / half[0]) ** 4 + ((columns - middle[1]) / half[1]) ** 4 < 1)


def _soft_tissue(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Labels 61 to 63 in patches."""
    field = smooth_field((shape[0], shape[1]), int(rng.integers(4, 12)), rng)
    return 61 + np.digitize(field, (-0.5, 0.6))
