"""Cases with real lesions: images of test patients as they are, with outlines or boxes.

Outlines: strokes of SOOP (drawn by hand), multiple sclerosis of openms (consensus of three raters), a glioma
(fusion of automatic outlines). Boxes: tumours and strokes of four patients at 3 T, drawn by eye. Slices of
SOOP without an outline show no acute stroke; they are the negatives, and need not be healthy.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from lfmri_node.recon.evaluate.cases import Case
from lfmri_node.recon.evaluate.lesion_metrics import Box, boxes_of
from lfmri_node.recon.evaluate.simulated import case_of, search_cases, setting_of
from lfmri_node.recon.evaluate.sweep import CaseSource
from lfmri_node.recon.train.data import BELOW_RESOLUTION, SIZE, GivenImage, LabelledImage, real_lesion
from lfmri_node.recon.train.samples import draw_scan, load_coils
from lfmri_node.recon.train.split import LESIONED, STROKE, Part, named
from lfmri_node.recon.train.strokes import Stroke, load_strokes
from lfmri_node.recon.train.visibility import VISIBLE, contrast_to_noise
from lfmri_node.recon.types import Bool, Real

REAL = "real-lesions"
STROKES, SCLEROSIS, GLIOMA, BOXED = (
    "real, stroke",
    "real, multiple sclerosis",
    "real, glioma",
    "real, 3 T, boxes",
)
BOXED_CONTRASTS = ("T1w", "T2w", "FLAIR")
FEWEST_PX = 30
"""Smaller outlines are left out, as are those whose contrast nobody can see (`visibility.VISIBLE`)."""
N_OF_VOLUME = 6
"""Slices of each outlined volume that are taken, evenly spaced among those that show a lesion."""

Fractions = tuple[float, float, float, float]


class _Plane(NamedTuple):
    """Magnitude f32 (y, x), its outline bool or boxes in fractions, whether it shows a lesion, its group."""

    image: Real
    outline: Bool | None
    boxes: list[Fractions]
    label: bool
    group: str


class _Volumes(NamedTuple):
    """A file with outlines: its path, arrays of the images, array of the outlines, group."""

    path: str
    contrasts: tuple[str, ...]
    outlines: str
    group: str


_OUTLINED = {
    "ms_cross_07": _Volumes("openms_cross/patient07.npz", ("FLAIR", "T2"), "mask", SCLEROSIS),
    "ms_cross_19": _Volumes("openms_cross/patient19.npz", ("FLAIR", "T2"), "mask", SCLEROSIS),
    "glioma_6692": _Volumes("tcga_glioma/TCGA-FG-6692.npz", ("sri24_fla", "sri24_t2"), "sri24_mask", GLIOMA),
}


def read_boxes(path: Path) -> dict[tuple[str, int], list[Fractions]]:
    """(patient, slice) -> boxes (x0, y0, x1, y1) in fractions of width and height."""
    found: dict[tuple[str, int], list[Fractions]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = (row["patient"], int(row["slice"]))
            box = (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
            found.setdefault(key, []).append(box)
    return found


def real_lesion_source(data: Path, n_strokes: int, seed: int, acceleration: float) -> CaseSource:
    """Test patients with real lesions: ``n_strokes`` strokes and half as many without, all of the others.

    Samples are named ``soop-number`` or ``subject/contrast/slice``; each is measured by a seed of its own, as
    in the training's simulation, without line errors.
    """
    strokes = lru_cache(maxsize=1)(lambda: {s.subject: s for s in load_strokes(data, Part.TEST)})
    wanted = [*_stroke_names(strokes(), n_strokes, seed), *_names(data)]

    def load(sample: str) -> Case:
        plane = _plane(data, sample, strokes)
        image, outline, boxes = resampled(plane.image, plane.boxes, plane.outline)
        lesion = real_lesion(outline) if outline is not None and outline.any() else None
        entry = LabelledImage(image=image, label=plane.label, lesion=lesion, subject=sample.split("/")[0])
        rng = np.random.default_rng([seed, int(acceleration), zlib.crc32(sample.encode())])
        scan = draw_scan(GivenImage(entry), load_coils(data), rng, acceleration=acceleration)
        around = boxes if outline is None else tuple(boxes_of(outline))
        return case_of(scan, REAL, sample, boxes=around, group=plane.group)

    return CaseSource(
        dataset=REAL,
        acceleration=acceleration,
        samples=tuple(wanted),
        load=load,
        search=lambda: search_cases(data, seed, acceleration),
        setting=setting_of(acceleration),
        outlined=True,
    )


def _stroke_names(strokes: dict[str, Stroke], n: int, seed: int) -> list[str]:
    """Of the patients with a stroke that can be seen ``n``, of those without one half as many."""
    rng = np.random.default_rng([seed, 5])
    seen = [s.subject for s in strokes.values() if s.mask.sum() >= FEWEST_PX and s.cnr > VISIBLE]
    without = [s.subject for s in strokes.values() if not s.mask.any()]
    chosen = [*rng.permutation(seen)[:n], *rng.permutation(without)[: n // 2]]
    return sorted(str(name) for name in chosen)


def _names(data: Path) -> Iterator[str]:
    """Slices of the outlined volumes that show a lesion that can be seen; all slices with boxes."""
    for subject, volumes in _OUTLINED.items():
        path = data / volumes.path
        for contrast in volumes.contrasts if path.is_file() else ():
            with np.load(path) as file:
                images, outlines = file[contrast], file[volumes.outlines] > 0
            shown = [
                i
                for i, (image, outline) in enumerate(zip(images, outlines, strict=True))
                if outline.sum() >= FEWEST_PX and contrast_to_noise(image, outline) > VISIBLE
            ]
            chosen = np.unique(np.linspace(0, len(shown) - 1, N_OF_VOLUME).astype(int)) if shown else ()
            yield from (f"{subject}/{contrast}/{shown[i]}" for i in chosen)
    path = data / "brain_3T_lesions.npz"
    if path.is_file():
        with np.load(path) as brains:
            sizes = {name: len(brains[name]) for name in brains.files}
        for subject in named(Part.TEST):
            for contrast in BOXED_CONTRASTS if subject in LESIONED else ():
                n = sizes.get(f"{subject}_3T_{contrast}", 0)
                yield from (f"{subject}/{contrast}/{s}" for s in range(n))


def _plane(data: Path, sample: str, strokes: Callable[[], dict[str, Stroke]]) -> _Plane:
    if sample.startswith(STROKE):
        stroke = strokes()[sample]
        return _Plane(stroke.image, stroke.mask, [], bool(stroke.mask.any()), STROKES)
    subject, contrast, index = sample.split("/")
    if subject in _OUTLINED:
        volumes = _OUTLINED[subject]
        with np.load(data / volumes.path) as file:
            volume, outline = file[contrast], file[volumes.outlines][int(index)] > 0
        return _Plane(_scaled(volume, int(index)), outline, [], True, volumes.group)
    with np.load(data / "brain_3T_lesions.npz") as brains:
        volume = brains[f"{subject}_3T_{contrast}"]
    boxes = read_boxes(data / "brain_3T_boxes.csv").get((subject, int(index)), [])
    return _Plane(_scaled(volume, int(index)), None, boxes, True, BOXED)


def _scaled(volume: Real, index: int) -> Real:
    plane = volume[index].astype(np.float32) - float(volume.min())
    return np.asarray(plane / max(float(np.percentile(plane, 99.5)), 1e-6))


def resampled(
    plane: Real, boxes: list[Fractions], outline: Bool | None = None
) -> tuple[Real, Bool | None, tuple[Box, ...]]:
    """The object of a magnitude plane f32 (y, x), below its acquired resolution, on (SIZE, SIZE).

    No turn and no flip: the ``outline`` and boxes in fractions of width and height move along.
    """
    rows, columns = (np.flatnonzero((plane > 0.08).any(axis=axis)) for axis in (1, 0))
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    zoom = min(BELOW_RESOLUTION, 0.9 * SIZE / extent)
    centre = np.array([(rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2])
    offset = centre - (SIZE / 2) / zoom

    def warped(given: Real) -> Real:
        turn = np.eye(2) / zoom
        shape = (SIZE, SIZE)
        return np.asarray(ndimage.affine_transform(given, turn, offset, output_shape=shape, order=1))

    image = np.clip(warped(ndimage.gaussian_filter(plane, 0.35 / zoom)), 0, None)
    image = image / max(float(np.percentile(image, 99.5)), 1e-3)
    kept = None if outline is None else warped(outline.astype(np.float32)) > 0.5
    moved = []
    for x0, y0, x1, y1 in boxes:
        low = (np.array([y0 * plane.shape[0], x0 * plane.shape[1]]) - offset) * zoom
        high = (np.array([y1 * plane.shape[0], x1 * plane.shape[1]]) - offset) * zoom
        moved.append(Box(*(int(v) for v in np.floor(low)), *(int(v) for v in np.ceil(high))))
    return np.asarray(image, dtype=np.float32), kept, tuple(moved)
