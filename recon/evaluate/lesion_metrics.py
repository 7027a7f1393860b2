"""Quality inside boxes, quality of the activation map, and figures of a diagnosis.

LF-PSNR and LF-SSIM [our reading]: PSNR and SSIM of the crop to each annotated box, with the data range
of the whole volume. `lf_psnr_crop` takes the crop's own maximum as range, a second definition found in
the field. Boxes are for evaluation only; none of them ever reaches a loss.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity

from lfmri_node.recon.metrics import POINTING_TOLERANCE_PX, area_under_curve
from lfmri_node.recon.types import Bool, Real

WINDOW = 7
"""Side of skimage's SSIM window: no box is smaller."""
FEWEST_PIXELS = 5
"""Smaller parts of a mask get no box of their own."""
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 20))
"""Activations at which the intersection over union is taken."""


class Box(NamedTuple):
    """Half-open pixel ranges ``[top, bottom)`` of rows and ``[left, right)`` of columns."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def is_empty(self) -> bool:
        return self.bottom <= self.top or self.right <= self.left


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionQuality:
    """Means over the boxes of one slice: PSNR in dB with the volume's and the crop's own range, SSIM."""

    lf_psnr_db: float
    lf_ssim: float
    lf_psnr_crop_db: float
    n_boxes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MapQuality:
    """How well an activation map finds the lesions of one slice.

    Parameters
    ----------
    pointed
        Its peak lies within 4 px of a lesion (pointing game).
    inside
        Its peak lies inside a box.
    iou
        Intersection over union with the boxes at each of `THRESHOLDS`.
    energy_inside
        Share of the map's sum inside the boxes; 0 for an empty map.
    chance
        Share of the body that lies within 4 px of a lesion: how often a peak put anywhere would point at it.
    """

    pointed: bool
    inside: bool
    iou: tuple[float, ...]
    energy_inside: float
    chance: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisQuality:
    """Figures of a classifier; accuracy, F1, sensitivity and specificity at ``threshold``."""

    auc: float
    accuracy: float
    f1: float
    sensitivity: float
    specificity: float
    threshold: float


def box_of(mask: Bool) -> Box | None:
    """The smallest box around ``mask`` bool (r, p); None where the mask is empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return None
    return Box(int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)


def boxes_of(mask: Bool) -> list[Box]:
    """A box around each connected part of ``mask`` bool (r, p) of `FEWEST_PIXELS` or more, largest first."""
    parts, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    places = ndimage.find_objects(parts)
    return [
        Box(places[i][0].start, places[i][1].start, places[i][0].stop, places[i][1].stop)
        for i in np.argsort(-sizes, kind="stable")
        if sizes[i] >= FEWEST_PIXELS
    ]


def usable_boxes(boxes: Iterable[Box], shape: tuple[int, int]) -> tuple[list[Box], int]:
    """Clip boxes to the image, drop the empty ones, grow the rest to the SSIM window.

    Returns the usable boxes and how many were dropped. Raises ValueError where the image itself is
    smaller than the window.
    """
    if min(shape) < WINDOW:
        raise ValueError(f"an image of {shape} is smaller than the SSIM window of {WINDOW}")
    usable, n_dropped = [], 0
    for box in boxes:
        clipped = Box(max(box.top, 0), max(box.left, 0), min(box.bottom, shape[0]), min(box.right, shape[1]))
        if box.is_empty or clipped.is_empty:
            n_dropped += 1
            continue
        top, bottom = _grown(clipped.top, clipped.bottom, shape[0])
        left, right = _grown(clipped.left, clipped.right, shape[1])
        usable.append(Box(top, left, bottom, right))
    return usable, n_dropped


def _grown(start: int, stop: int, n: int) -> tuple[int, int]:
    """The range itself, or one of ``WINDOW`` points around it, moved inside ``[0, n)``."""
    missing = WINDOW - (stop - start)
    if missing <= 0:
        return start, stop
    start = min(max(start - missing // 2, 0), n - WINDOW)
    return start, start + WINDOW


def lf_psnr_of_outline(image: Real, truth: Real, near: Bool, peak: float) -> float:
    """PSNR of the pixels ``near`` a masked lesion, bool (r, p), with the volume's data range, in dB."""
    return psnr_db(image[near], truth[near], peak)


def psnr_db(image: Real, truth: Real, peak: float) -> float:
    """``20 log10(peak / rms error)``; infinite without error."""
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    return float(10 * np.log10(peak**2 / error)) if error > 0 else float("inf")


def slice_quality(image: Real, truth: Real, peak: float) -> tuple[float, float, float]:
    """PSNR in dB, SSIM, NMSE of magnitude f32 (r, p) against ``truth``, data range ``peak`` of the volume."""
    energy = float(np.mean(truth.astype(np.float64) ** 2))
    error = float(np.mean((image.astype(np.float64) - truth) ** 2))
    ssim = float(structural_similarity(truth, image, data_range=peak))
    return psnr_db(image, truth, peak), ssim, error / energy


def lesion_quality(image: Real, truth: Real, boxes: Sequence[Box], peak: float) -> LesionQuality | None:
    """Quality inside usable boxes (see `usable_boxes`), mean over boxes; None without boxes.

    Parameters
    ----------
    image, truth
        Magnitudes f32 (r, p).
    peak
        Maximum of the truth of the whole volume.
    """
    psnr, ssim, own = [], [], []
    for box in boxes:
        window = (slice(box.top, box.bottom), slice(box.left, box.right))
        ours, theirs = image[window], truth[window]
        psnr.append(psnr_db(ours, theirs, peak))
        ssim.append(float(structural_similarity(theirs, ours, data_range=peak)))
        own.append(psnr_db(ours, theirs, float(theirs.max())))
    if not psnr:
        return None
    return LesionQuality(
        lf_psnr_db=float(np.mean(psnr)),
        lf_ssim=float(np.mean(ssim)),
        lf_psnr_crop_db=float(np.mean(own)),
        n_boxes=len(psnr),
    )


def map_quality(
    activation: Real, boxes: Sequence[Box], lesion: Bool | None = None, body: Bool | None = None
) -> MapQuality | None:
    """Pointing game, intersection over union and energy of a map f32 (r, p); None without boxes.

    Parameters
    ----------
    boxes
        Clipped to the image.
    lesion
        bool (r, p) where the outline is known: the pointing game then measures the distance to it, else
        to the boxes. Source of the pointing game: Zhang et al., Int J Comput Vis 126 (2018) 1084.
    body
        bool (r, p), where a peak may lie by chance; the whole image where None.
    """
    if not boxes:
        return None
    covered = np.zeros(activation.shape, dtype=bool)
    for box in boxes:
        covered[box.top : box.bottom, box.left : box.right] = True
    outline = covered if lesion is None or not lesion.any() else lesion
    peak = np.unravel_index(int(activation.argmax()), activation.shape)
    distance = ndimage.distance_transform_edt(~outline)
    total = float(activation.sum(dtype=np.float64))
    found = activation.max() > 0
    near = distance <= POINTING_TOLERANCE_PX
    return MapQuality(
        pointed=bool(found and near[peak]),
        inside=bool(found and covered[peak]),
        iou=tuple(_iou(activation >= threshold, covered) for threshold in THRESHOLDS),
        energy_inside=float(activation[covered].sum(dtype=np.float64)) / total if total > 0 else 0.0,
        chance=float(near.mean() if body is None or not body.any() else near[body].mean()),
    )


def _iou(one: Bool, other: Bool) -> float:
    union = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / union) if union else 0.0


def diagnosis_quality(
    scores: Sequence[float], labels: Sequence[bool], threshold: float = 0.5
) -> DiagnosisQuality | None:
    """AUC, accuracy, F1, sensitivity, specificity; None unless both classes occur.

    ``threshold`` is fixed beforehand: one chosen on the slices that it is measured on flatters.
    """
    truth = np.asarray(labels, dtype=bool)
    if truth.all() or not truth.any():
        return None
    found = np.asarray(scores, dtype=float) >= threshold
    true_positive = np.count_nonzero(found & truth)
    wrong = np.count_nonzero(found != truth)
    return DiagnosisQuality(
        auc=area_under_curve(scores, labels),
        accuracy=float(np.mean(found == truth)),
        f1=2 * true_positive / (2 * true_positive + wrong) if true_positive + wrong else 0.0,
        sensitivity=float(np.mean(found[truth])),
        specificity=float(np.mean(~found[~truth])),
        threshold=threshold,
    )
